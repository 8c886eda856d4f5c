import { createClient } from "@connectrpc/connect";
import { bytesOf } from "../../src/base/bytes.ts";
import { buildCertificateRequest, generateP256 } from "../../src/crypto/index.ts";
import { Mesh } from "../../src/protocol/index.ts";
import { openRpcConnection } from "../../src/transport/index.ts";
import { refusalOf } from "./workload-mesh.ts";

// A process that asks at an agent's socket as an instance (for a certificate, or to enter what it has signed about a
// prefix where it is told a kind of entry), says for it that it serves elsewhere, and prints what it was
// answered. Becomes another user first where it is told one.
const [path = "", instance = "", service = "", auditKey = "", generation = "0", user = "", kind = ""] =
  process.argv.slice(2);
if (user !== "") {
  process.setgroups?.([]);
  process.setgid?.(Number(user));
  process.setuid?.(Number(user));
}
using connection = await openRpcConnection({ kind: "unix", path });
const mesh = createClient(Mesh, connection.transport);
const certificateRequest = buildCertificateRequest(generateP256().privateKey);
const request = { instance, service, auditKey, certificateRequest, generation: Number(generation) };
const body = bytesOf(JSON.stringify({ instance }));
process.stdout.write(
  kind === "" ? await refusalOf(mesh.issueSvid(request)) : await refusalOf(mesh.handOnPrefix({ kind, body })),
);
await mesh.report({
  followers: [{ instance, service, address: "127.0.0.1:6" }],
  alarms: [{ reason: "neighbour" }],
});
