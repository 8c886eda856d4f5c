import { stripVTControlCharacters } from "node:util";
import { preparedClone } from "../../apparatus/clean-clone.ts";
import { runCommand } from "../../apparatus/running-command.ts";
import { type Claim, failed, ok } from "../claim.ts";

const testMillisMax = 15 * 60_000;

/** The checks and all tests, as whoever cloned this runs them. */
export const claim: Claim = {
  text: "npm test in a clean clone of HEAD passes",
  uses: [preparedClone],
  limitSeconds: testMillisMax / 1000 + 60,
  run: async () => {
    const { path, commit, node } = await preparedClone.get();
    const tested = await runCommand("npm", ["test"], {
      cwd: path,
      env: node.env,
      timeoutMillis: testMillisMax,
    });
    const lines = stripVTControlCharacters(tested.stdout + tested.stderr).split("\n");
    const summary = lines.filter((line) => /^ *(Test Files|Tests) /.test(line)).map(spacedOnce);
    const figure = `commit ${commit}, ${(tested.millis / 1000).toFixed(0)} s: ${summary.join(", ")}`;
    if (tested.code === 0) return ok(figure);
    const complaints = lines.filter((line) => /^ *(FAIL|x|error) /i.test(line)).map(spacedOnce);
    return failed(`exit code ${tested.code}, ${figure}: ${complaints.slice(0, 4).join("; ")}`);
  },
};

function spacedOnce(line: string): string {
  return line.trim().replaceAll(/ +/g, " ");
}
