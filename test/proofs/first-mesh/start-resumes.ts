import { observeStart, preparedClone } from "../../apparatus/clean-clone.ts";
import { type Claim, failed, ok } from "../claim.ts";

const startMillisMax = 5_000;

/** A request is end to end when the ledger, the fourth service in the chain, has been written to. */
export const claim: Claim = {
  text: "the next npm start resumes the same trust domain and log, and its first end-to-end request comes within 5 s (time judged with --full, on a quiet machine)",
  uses: [preparedClone],
  run: async ({ isFull }) => {
    const clone = await preparedClone.get();
    const { firstStart } = clone;
    await using command = clone.npmStart();
    const start = await observeStart(clone, command);
    if (!start.readyLine.includes("resumed")) return failed(`not resumed: ${start.readyLine}`);
    if (start.genesis !== firstStart.genesis) return failed("it has another genesis");
    const [before, after] = [firstStart.status.treeSize, start.status.treeSize];
    if (after < before) return failed(`the log had ${before} entries and has ${after}`);
    const figure = `${(start.millis / 1000).toFixed(1)} s from the command to ready; log ${before} -> ${after} entries, same genesis`;
    return isFull && start.millis > startMillisMax ? failed(figure) : ok(figure);
  },
};
