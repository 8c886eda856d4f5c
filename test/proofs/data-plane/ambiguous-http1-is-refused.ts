import { GoHttp1Reader } from "../../apparatus/go-http1-reader.ts";
import { missingForGoPeer } from "../../apparatus/go-peer.ts";
import { Http1Ground } from "../../apparatus/http1-ground.ts";
import { disagreement, readWithLlhttp } from "../../apparatus/http1-reading.ts";
import { openScriptedApp } from "../../apparatus/scripted-app.ts";
import { corpus } from "../../conformance/http1/corpus.ts";
import { judgeEarlyAnswer, judgeResponse } from "../../conformance/http1/judge-response.ts";
import type { Sending } from "../../conformance/http1/judge-row.ts";
import { responseRows } from "../../conformance/http1/response-rows.ts";
import { type CorpusRun, runCorpus, runStalled } from "../../conformance/http1/run-corpus.ts";
import { stalledRows } from "../../conformance/http1/stalled-rows.ts";
import { temporaryFolder } from "../../contracts/temporary-folder.ts";
import { assailFor } from "../../fuzz/http1-assault.ts";
import { type Claim, failed, ok, skipped } from "../claim.ts";

const ways: readonly Sending[] = [
  { edge: "outbound" },
  { edge: "outbound", pieceBytes: 7 },
  { edge: "inbound" },
];
const shownMax = 10;
/** How long the long form sends mutations. */
const assaultSeconds = 240;

/** What two servers could read differently never gets to one of them. */
export const claim: Claim = {
  text:
    "over 200 malformed or ambiguous HTTP/1 messages are refused or brought to one reading by a pair of sidecars, " +
    "whoever sends them; llhttp and Go's net/http read the same requests in everything that gets through",
  limitSeconds: 600,
  run: async ({ isFull, note }) => {
    const missing = missingForGoPeer("http1-reader");
    if (missing !== undefined) return skipped(missing);
    await using folder = await temporaryFolder();
    await using go = await GoHttp1Reader.open(folder.path);
    const differing = await readDifferently(go);
    note(
      `${differing} of ${corpus.length} are read differently by the two readers where nobody stands before them`,
    );
    const hostile = await openScriptedApp();
    await using ground = await Http1Ground.open({ "/shop/hostile": hostile });
    const runs: CorpusRun[] = [];
    for (const sending of ways) runs.push(await runCorpus(ground, corpus, { sending, go }));
    const address = ground.caller.sidecar.outboundAddress;
    const at = { address, app: hostile, host: "hostile.shop.mesh", go };
    const wrong = runs.flatMap((run) => run.wrong);
    for (const row of responseRows)
      for (const complaint of await judgeResponse(at, row)) wrong.push(`response, ${row.name}: ${complaint}`);
    wrong.push(...(await judgeEarlyAnswer(at)));
    const seed = Date.now() % 2 ** 31;
    if (isFull) note(`seed ${seed}`);
    const assault = isFull ? await assailFor(ground, at, { seconds: assaultSeconds, seed }) : undefined;
    // Last, since the caller's sidecar has no news of the mesh afterwards, by its clock.
    wrong.push(...(await runStalled(ground)));

    const disagreements = runs.flatMap((run) => run.disagreements);
    if (wrong.length + disagreements.length > 0)
      return failed(
        `${wrong.length} not treated as they have to be, ${disagreements.length} disagreements: ` +
          [...wrong, ...disagreements].slice(0, shownMax).join("; "),
      );
    const sent = runs.reduce((sum, run) => sum + run.sent, 0);
    const reached = runs.reduce((sum, run) => sum + run.reached, 0);
    return ok(
      `${corpus.length} requests (${counted()}), sent ${sent} times: at once, in pieces, and by a hostile sidecar; ` +
        `${reached} requests reached the application and 0 disagreements about them; ${stalledRows.length} that stop ` +
        `in their middle got 408; ${responseRows.length} hostile responses, none taken for the answer to another ` +
        `request; sent straight to the two readers, ${differing} of the requests are read differently` +
        (assault === undefined
          ? ""
          : `; mutated, ${assault.requests} messages and ${assault.responses} responses: 0 crashes, hangs, disagreements`),
    );
  },
};

function counted(): string {
  const of = (kind: string): number => corpus.filter(({ expected }) => expected.kind === kind).length;
  const normalised = corpus.filter(
    ({ expected }) => expected.kind === "reached" && expected.isNormalised,
  ).length;
  return (
    `${of("refused")} refused and closed, ${of("answered")} answered by the mesh, ${normalised} normalised, ` +
    `${of("reached") - normalised} passed`
  );
}

/** The control: how many of the messages the two readers do not agree on when they get them as they are. */
async function readDifferently(go: GoHttp1Reader): Promise<number> {
  let differing = 0;
  for (const { bytes } of corpus) {
    const raw = Buffer.from(bytes, "latin1");
    if (disagreement(await readWithLlhttp(raw), await go.requestsIn(raw)) !== undefined) differing += 1;
  }
  return differing;
}
