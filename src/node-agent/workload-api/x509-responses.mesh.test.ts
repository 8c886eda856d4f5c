import { afterEach, beforeEach, expect, it } from "vitest";
import type { MeshInProcess } from "../../../test/apparatus/mesh-in-process.ts";
import type { WorkloadClient } from "../../../test/apparatus/workload-client.ts";
import { connectTo, foundWorkloadMesh, putWorkload, reader } from "../../../test/apparatus/workload-mesh.ts";
import { type ParsedRevocationList, parseRevocationList } from "../../crypto/index.ts";
import { type CertificateAuthority, parseTrustBundle, writeSpiffeBundle } from "../../identity/index.ts";
import { testDomain, valueOf } from "../../identity/svid-for-tests.ts";
import type { X509BundlesResponse, X509SVIDResponse } from "../../protocol/index.ts";

let mesh: MeshInProcess;
let client: WorkloadClient;

beforeEach(async () => {
  mesh = await foundWorkloadMesh();
  await putWorkload(mesh, "payments");
  client = connectTo(mesh);
});

afterEach(async () => {
  client[Symbol.dispose]();
  await mesh[Symbol.asyncDispose]();
});

it.each(["svid.revoke", "instance.revoke"] as const)(
  "pushes a list with the serial of another workload on both streams after %s",
  async (kind) => {
    const { instance } = await mesh.open("/shop/ledger");
    const [certificate = "", row] =
      [...mesh.controlPlane.writer.state.certificates.entries()].find(
        ([, one]) => one.instance === instance,
      ) ?? [];
    const serial = row?.serial ?? "";
    const next = openStreams();
    const before = await next(({ crl }) => crl.length > 0);

    const reason = "key-compromise";
    const whom = kind === "svid.revoke" ? { certificate } : { instance };
    await mesh.put(kind, { ...whom, reason });
    const after = await next(({ crl }) => listsOf(crl).some(({ revoked }) => revoked.size > 0));

    for (const { crl } of before) expect(listsOf(crl).every(({ revoked }) => revoked.size === 0)).toBe(true);
    for (const { crl } of after) {
      const [list, ...others] = listsOf(crl).filter(({ revoked }) => revoked.has(serial));
      expect(list?.revoked.get(serial)).toMatchObject({ reason });
      expect(list?.authorityKeyId).toBe(mesh.intermediate.certificate.subjectKeyId);
      expect(others).toEqual([]);
    }
  },
  20_000,
);

it("gives the bundle of a federated trust domain on both streams until the federation ends", async () => {
  const id = "spiffe://bank.example";
  const { root } = testDomain("bank.example");
  const next = openStreams();
  const before = await next(() => true);

  await mesh.put("federation.put", {
    trustDomain: "bank.example",
    url: "https://bank.example/bundle",
    profile: "https_web",
    bundle: bundleText(root),
  });
  const during = await next((message) => id in bundlesOf(message));
  await mesh.put("federation.remove", { trustDomain: "bank.example" });
  const after = await next((message) => !(id in bundlesOf(message)));

  for (const message of [...before, ...after]) expect(bundlesOf(message)).not.toHaveProperty([id]);
  for (const message of during)
    expect(Buffer.from(bundlesOf(message)[id] ?? [])).toEqual(Buffer.from(root.certificate.der));
});

type X509Message = X509SVIDResponse | X509BundlesResponse;

/** One stream of each kind, and the next message of each that is as somebody waits for. */
function openStreams(): (isAwaited: (message: X509Message) => boolean) => Promise<X509Message[]> {
  const streams = [
    reader<X509Message>(client.api.fetchX509SVID({})),
    reader<X509Message>(client.api.fetchX509Bundles({})),
  ];
  return (isAwaited) =>
    Promise.all(
      streams.map(async (next) => {
        let message = await next();
        while (!isAwaited(message)) message = await next();
        return message;
      }),
    );
}

function bundlesOf(message: X509Message): Readonly<Record<string, Uint8Array>> {
  return message.$typeName === "X509SVIDResponse" ? message.federatedBundles : message.bundles;
}

function listsOf(crl: readonly Uint8Array[]): ParsedRevocationList[] {
  return crl.map((der) => valueOf(parseRevocationList(der)));
}

function bundleText({ trustDomain, certificate }: CertificateAuthority): string {
  const none = new Map<string, never>();
  return writeSpiffeBundle({
    trustDomain,
    x509: valueOf(parseTrustBundle(trustDomain, [certificate.der])),
    jwtKeys: none,
    witKeys: none,
    sequence: undefined,
    refreshHintSeconds: undefined,
  });
}
