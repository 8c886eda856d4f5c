import { missingForGoPeer } from "../../apparatus/go-peer.ts";
import { runInteropCases } from "../../apparatus/grpc-interop.ts";
import { grpcMesh } from "../../apparatus/grpc-mesh.ts";
import { type Claim, failed, ok, skipped } from "../claim.ts";

/** Without the mesh between them all of it passes: test/conformance/grpc-interop.test.ts. */
export const claim: Claim = {
  text: "gRPC's 14 interop cases without a cloud pass through two sidecars, between @grpc/grpc-js and Go's gRPC, each as client and as server",
  limitSeconds: 900,
  uses: [grpcMesh],
  run: async ({ note }) => {
    const missing = missingForGoPeer("grpc-interop");
    if (missing !== undefined) return skipped(missing);
    const { peers, targetOf } = await grpcMesh.get();
    const failures: string[] = [];
    let passed = 0;
    for (const server of peers)
      for (const client of peers) {
        const outcome = await runInteropCases(client, targetOf(server.name));
        for (const failure of outcome.failures) note(failure);
        failures.push(...outcome.failures);
        passed += outcome.passed;
      }
    const all = passed + failures.length;
    return failures.length === 0
      ? ok(`${passed} of ${all}`)
      : failed(`${passed} of ${all} pass; the first that does not: ${failures[0]}`);
  },
};
