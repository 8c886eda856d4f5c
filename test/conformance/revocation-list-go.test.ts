import { spawnSync } from "node:child_process";
import { randomBytes } from "node:crypto";
import { writeFile } from "node:fs/promises";
import { join } from "node:path";
import { beforeAll, describe, expect, test } from "vitest";
import {
  buildCertificateRequest,
  type CertificateRequest,
  generateP256,
  parseCertificateRequest,
} from "../../src/crypto/index.ts";
import {
  createIntermediate,
  createRoot,
  type IssuedSvid,
  issueRevocationList,
  issueSvid,
  parseSpiffeId,
  parseTrustDomain,
} from "../../src/identity/index.ts";
import { buildGoPeer, missingForGoPeer } from "../apparatus/go-peer.ts";
import { temporaryFolder } from "../contracts/temporary-folder.ts";

const missing = missingForGoPeer("crl-go");
if (missing !== undefined)
  console.log(`skipped: a revocation list as Go's crypto/x509 reads it (${missing})`);

// Go judges by the machine's clock.
const clock = {
  nowSeconds: () => (performance.timeOrigin + performance.now()) / 1000,
  monotonicMillis: () => performance.now(),
};
const world = { clock, randomBytes };
const trustDomain = valueOf(parseTrustDomain("shop.example"));
const root = createRoot({ trustDomain, privateKey: generateP256().privateKey }, world);
const issuer = createIntermediate(root, { privateKey: generateP256().privateKey }, world);
const reasons = ["unspecified", "key-compromise", "superseded", "cessation-of-operation"] as const;
const codes = [0, 1, 4, 5];
const folder = await temporaryFolder();
const at = (name: string): string => join(folder.path, name);

function valueOf<Value>(
  result: { readonly ok: true; readonly value: Value } | { readonly ok: false; readonly reason: string },
): Value {
  if (!result.ok) throw new Error(result.reason);
  return result.value;
}

function issue(): IssuedSvid {
  const request = buildCertificateRequest(generateP256().privateKey);
  const proof: CertificateRequest = valueOf(parseCertificateRequest(request));
  const spiffeId = valueOf(parseSpiffeId("spiffe://shop.example/shop/payments"));
  return valueOf(issueSvid(issuer, { proof, spiffeId }, world));
}

function ask(...files: readonly string[]): { readonly status: number | null; readonly said: unknown } {
  const { status, stdout, stderr } = spawnSync(at("crl-go"), files, { encoding: "utf8" });
  return { status, said: status === 0 ? JSON.parse(stdout) : stderr.trim() };
}

describe.skipIf(missing !== undefined)("Go's crypto/x509", () => {
  const svids = reasons.map(() => issue());
  const good = issue();

  beforeAll(async () => {
    await buildGoPeer("crl-go", folder.path);
    const revoked = reasons.map((reason, place) => ({
      serial: svids[place]?.serial ?? "",
      atSeconds: clock.nowSeconds() - 1,
      reason,
    }));
    await writeFile(at("issuer"), issuer.certificate.der);
    await writeFile(at("root"), root.certificate.der);
    await writeFile(at("list"), issueRevocationList(issuer, { number: 70_000, revoked }, clock));
    await writeFile(at("empty"), issueRevocationList(root, { number: 1, revoked: [] }, clock));
    for (const [place, { certificate }] of [...svids, good].entries())
      await writeFile(at(String(place)), certificate);
    return () => folder[Symbol.asyncDispose]();
  }, 120_000);

  test("reads number, time, serials and reasons of a list, and finds it signed by its CA", () => {
    const files = [...svids, good].map((_, place) => at(String(place)));

    const { said } = ask(at("issuer"), at("list"), ...files);

    expect(said).toEqual({
      number: "70000",
      current: true,
      revoked: Object.fromEntries(codes.map((code, place) => [at(String(place)), code])),
    });
  });

  test("reads a list that names nothing", () => {
    expect(ask(at("root"), at("empty"), at("0")).said).toEqual({ number: "1", current: true, revoked: {} });
  });

  test("takes a list from no other CA", () => {
    expect(ask(at("root"), at("list")).status).toBe(1);
  });
});
