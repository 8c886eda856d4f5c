import { randomBytes, randomUUID } from "node:crypto";
import { createClient } from "@connectrpc/connect";
import { expect, test } from "vitest";
import { temporaryFolder } from "../../test/contracts/temporary-folder.ts";
import { fakeClock } from "../../test/fakes/fake-clock.ts";
import {
  foundSmallDomain,
  putAsOperator,
  putNode,
  putService,
  runControlPlane,
} from "../../test/fakes/small-domain.ts";
import { signerNamed } from "../../test/fakes/small-trust-log.ts";
import { bytesOfBase64 } from "../base/bytes.ts";
import {
  buildCertificateRequest,
  generateP256,
  isListSignedBy,
  type ParsedRevocationList,
  parseCertificate,
  parseRevocationList,
} from "../crypto/index.ts";
import { Mesh } from "../protocol/index.ts";
import { openRpcConnection, tlsIdentityOf } from "../transport/index.ts";
import { verifierKeyOf } from "../trust-log/index.ts";

test("each authority lists what it has signed and the log has revoked, under the size of the log", async () => {
  await using stack = new AsyncDisposableStack();
  const clock = fakeClock();
  const folder = stack.use(await temporaryFolder());
  const domain = await foundSmallDomain(folder.path, clock);
  const { writer, port } = stack.use(await runControlPlane(domain, clock));
  const node = await putNode(domain, writer, "edge-1");
  await putService(domain, writer, "/shop/web");
  const identity = tlsIdentityOf(node.privateKey, randomBytes);
  const connection = stack.use(await openRpcConnection({ kind: "tls", host: "127.0.0.1", port, identity }));
  const mesh = createClient(Mesh, connection.transport);
  const instance = randomUUID();
  const { chain } = await mesh.issueSvid({
    instance,
    service: "/shop/web",
    certificateRequest: buildCertificateRequest(generateP256().privateKey),
    auditKey: verifierKeyOf(signerNamed("example.org/audit/1")),
  });
  const leaf = parseCertificate(chain[0] ?? new Uint8Array(0));
  if (!leaf.ok) throw new Error(leaf.reason);
  const before = await mesh.readRevocationLists({});

  await putAsOperator(domain, writer, {
    kind: "instance.revoke",
    body: { instance, reason: "key-compromise" },
  });
  const after = await mesh.readRevocationLists({});

  const [issuing, root] = after.lists.map(listOf);
  const authorities = [...writer.state.certificateAuthorities.entries()].map(
    ([, { certificate, isTrusted }]) => {
      const parsed = parseCertificate(bytesOfBase64(certificate) ?? new Uint8Array(0));
      if (!parsed.ok) throw new Error(parsed.reason);
      return { isTrusted, certificate: parsed.value };
    },
  );
  const keyOf = (isRoot: boolean) => {
    const found = authorities.find(({ isTrusted }) => isTrusted === isRoot);
    if (found === undefined) throw new Error("no such authority");
    return found.certificate.publicKey;
  };
  expect(before.lists.map(listOf).map(({ revoked }) => revoked.size)).toEqual([0, 0]);
  expect(Number(after.size)).toBe(writer.tree.size);
  expect(issuing?.number).toBe(BigInt(writer.tree.size));
  expect(issuing?.revoked.get(leaf.value.serial)?.reason).toBe("key-compromise");
  expect(issuing !== undefined && isListSignedBy(issuing, keyOf(false))).toBe(true);
  expect(root !== undefined && isListSignedBy(root, keyOf(true))).toBe(true);
});

function listOf(der: Uint8Array): ParsedRevocationList {
  const parsed = parseRevocationList(der);
  if (!parsed.ok) throw new Error(`${parsed.reason} ${parsed.detail}`);
  return parsed.value;
}
