import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, describe, expect, test } from "vitest";
import { freePort } from "../../src/cli/free-port.ts";
import { missingForGoPeer } from "../apparatus/go-peer.ts";
import { buildGrpcGoPeer, type GrpcPeer, grpcJsPeer, runInteropCases } from "../apparatus/grpc-interop.ts";
import { RunningCommand } from "../apparatus/running-command.ts";

const goMissing = missingForGoPeer("grpc-interop");
if (goMissing !== undefined) console.log(`skipped: gRPC's interop cases with Go (${goMissing})`);

const folder = mkdtempSync(join(tmpdir(), "troth-grpc-interop-"));
afterAll(() => rmSync(folder, { recursive: true, force: true }));

// What these peers cannot do with each other, no mesh between them could be blamed for.
describe("gRPC's interop cases without a mesh", () => {
  test("pass between @grpc/grpc-js and itself", { timeout: 60_000 }, async () => {
    expect(await between([grpcJsPeer])).toEqual([{ passed: 14, failures: [] }]);
  });

  test.skipIf(goMissing !== undefined)(
    "pass between @grpc/grpc-js and Go's gRPC, each as client and as server",
    { timeout: 600_000 },
    async () => {
      const peers = [grpcJsPeer, await buildGrpcGoPeer(folder)];

      expect(await between(peers)).toEqual(Array.from({ length: 4 }, () => ({ passed: 14, failures: [] })));
    },
  );
});

async function between(peers: readonly GrpcPeer[]): Promise<object[]> {
  const outcomes: object[] = [];
  for (const { serve } of peers) {
    const port = await freePort();
    const [file, ...args] = serve;
    await using server = new RunningCommand(file, args, { env: { PORT: String(port) } });
    await server.untilLine(/^ready$/, 20_000);
    const target = { address: `127.0.0.1:${port}`, authority: "interop.example" };
    for (const client of peers) outcomes.push(await runInteropCases(client, target));
  }
  return outcomes;
}
