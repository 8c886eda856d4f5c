import { execFile } from "node:child_process";
import { mkdtemp, readFile, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { z } from "zod";
import { requestTokenStatus } from "../../../src/request-token/index.ts";
import { plainEnvironment } from "../../apparatus/running-command.ts";
import { repository } from "../../apparatus/running-mesh.ts";
import { type Claim, failed, ok } from "../claim.ts";

const runMillisMax = 240_000;
const vitestReport = z.looseObject({
  testResults: z.array(
    z.looseObject({
      assertionResults: z.array(z.looseObject({ status: z.string(), title: z.string() })),
    }),
  ),
});

export const claim: Claim = {
  text: "each reason for which a request token is refused has its cases, and every test of the format and its checks passes",
  run: async () => {
    await using stack = new AsyncDisposableStack();
    const folder = await mkdtemp(join(tmpdir(), "troth-refusals-"));
    stack.defer(() => rm(folder, { recursive: true, force: true }));
    const file = join(folder, "report.json");
    const program = join(repository, "node_modules", "vitest", "vitest.mjs");
    const args = [program, "run", "src/request-token", "--reporter=json", `--outputFile=${file}`];
    const how = { cwd: repository, env: plainEnvironment(), timeout: runMillisMax };
    // A failed test ends it with another exit code, and its report says which.
    await new Promise((resolve) => execFile(process.execPath, args, how, resolve));
    const report = vitestReport.parse(JSON.parse(await readFile(file, "utf8")));
    const tests = report.testResults.flatMap(({ assertionResults }) => assertionResults);
    const bad = tests.filter(({ status }) => status !== "passed");
    if (tests.length === 0 || bad.length > 0)
      return failed(`${bad.length} of ${tests.length}: ${bad.map(({ title }) => title).join("; ")}`);
    const reasons = Object.keys(requestTokenStatus);
    const cases = tests.filter(({ title }) => title.startsWith("refuses "));
    const without = reasons.filter(
      (reason) => !cases.some(({ title }) => title.startsWith(`refuses ${reason}: `)),
    );
    return without.length === 0
      ? ok(`${reasons.length} reasons in ${cases.length} cases; ${tests.length} tests`)
      : failed(`no case of ${without.join(", ")}`);
  },
};
