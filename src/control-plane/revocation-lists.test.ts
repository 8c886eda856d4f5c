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
import { softwareVersion } from "../base/software-version.ts";
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
import { entryRevision, verifierKeyOf } from "../trust-log/index.ts";

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
  // Of who is not known to be new enough, the log does not say which authority signed.
  await mesh.report({ agentSize: 1n, softwareVersion, entryRevision });
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

  const lists = after.lists.map(listOf);
  const byAuthority = [...writer.state.certificateAuthorities.entries()].map(([, row]) => {
    const parsed = parseCertificate(bytesOfBase64(row.certificate) ?? new Uint8Array(0));
    if (!parsed.ok) throw new Error(parsed.reason);
    const { publicKey, subjectKeyId } = parsed.value;
    const list = lists.find(({ authorityKeyId }) => authorityKeyId === subjectKeyId);
    return { isRoot: row.isTrusted, list, isSigned: list !== undefined && isListSignedBy(list, publicKey) };
  });
  const issuing = byAuthority.find(({ isRoot }) => !isRoot)?.list;
  expect(before.lists.map(listOf).map(({ revoked }) => revoked.size)).toEqual([0, 0]);
  expect(byAuthority.map(({ isSigned }) => isSigned)).toEqual([true, true]);
  expect(Number(after.size)).toBe(writer.tree.size);
  expect(issuing?.number).toBe(BigInt(writer.tree.size));
  expect(issuing?.revoked.get(leaf.value.serial)?.reason).toBe("key-compromise");
  expect(byAuthority.find(({ isRoot }) => isRoot)?.list?.revoked.size).toBe(0);
});

function listOf(der: Uint8Array): ParsedRevocationList {
  const parsed = parseRevocationList(der);
  if (!parsed.ok) throw new Error(`${parsed.reason} ${parsed.detail}`);
  return parsed.value;
}
