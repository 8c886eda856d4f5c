import { createClient } from "@connectrpc/connect";
import { buildCertificateRequest, generateP256 } from "../../src/crypto/index.ts";
import { Mesh } from "../../src/protocol/index.ts";
import { openRpcConnection } from "../../src/transport/index.ts";
import { refusalOf } from "./workload-mesh.ts";

// A process that asks at an agent's socket as an instance, says for it that it serves elsewhere, and prints what it was
// answered. Becomes another user first where it is told one.
const [path = "", instance = "", service = "", auditKey = "", generation = "0", user = ""] =
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
process.stdout.write(await refusalOf(mesh.issueSvid(request)));
await mesh.report({
  followers: [{ instance, service, address: "127.0.0.1:6" }],
  alarms: [{ reason: "neighbour" }],
});
