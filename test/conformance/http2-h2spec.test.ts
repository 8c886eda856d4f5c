import { execFile, execFileSync, spawnSync } from "node:child_process";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { openEchoServer } from "../fuzz/http2-peers.ts";

const isGoHere = spawnSync("go", ["version"]).status === 0;
if (!isGoHere) console.log("skipped: HTTP/2 as h2spec demands it (no go on the PATH)");

const folder = mkdtempSync(join(tmpdir(), "troth-h2spec-"));
const peer = join(folder, "h2spec");
afterAll(() => rmSync(folder, { recursive: true, force: true }));

describe.skipIf(!isGoHere)("h2spec", () => {
  beforeAll(() => {
    const cwd = "test/peers/h2spec";
    execFileSync("go", ["build", "-mod=readonly", "-o", peer, "."], { cwd, stdio: "inherit" });
  }, 120_000);

  test("finds every case passed by our server, the strict ones too", { timeout: 180_000 }, async () => {
    await using server = await openEchoServer();

    const { status, output } = await run(peer, String(server.port));

    expect([status, output]).toEqual([
      0,
      expect.stringMatching(/\n(\d+) tests, \1 passed, 0 skipped, 0 failed/),
    ]);
    expect(server.faults).toEqual([]);
  });
});

async function run(file: string, ...rest: readonly string[]): Promise<{ status: unknown; output: string }> {
  return new Promise((resolve) => {
    execFile(file, rest, { maxBuffer: 2 ** 24 }, (error, stdout, stderr) =>
      resolve({ status: error === null ? 0 : error.code, output: stdout + stderr }),
    );
  });
}
