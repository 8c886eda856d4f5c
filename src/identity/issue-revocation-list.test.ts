import { execFile } from "node:child_process";
import { randomBytes } from "node:crypto";
import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import tls from "node:tls";
import { promisify } from "node:util";
import { afterAll, beforeAll, expect, test } from "vitest";
import {
  buildCertificateRequest,
  generateP256,
  parseCertificateRequest,
  pemOfPrivateKey,
} from "../crypto/index.ts";
import { createIntermediate, createRoot, type IssuedSvid, issueSvid } from "./certificate-authority.ts";
import { issueRevocationList } from "./issue-revocation-list.ts";
import { parseTrustDomain } from "./spiffe-id.ts";
import { testId, valueOf } from "./svid-for-tests.ts";

// OpenSSL judges by the machine's clock.
const clock = {
  nowSeconds: () => (performance.timeOrigin + performance.now()) / 1000,
  monotonicMillis: () => performance.now(),
};
const world = { clock, randomBytes };
const run = promisify(execFile);
const trustDomain = valueOf(parseTrustDomain("shop.example"));
const root = createRoot({ trustDomain, privateKey: generateP256().privateKey }, world);
const issuer = createIntermediate(root, { privateKey: generateP256().privateKey }, world);
const keys = generateP256();
const [good, bad] = [issued(), issued()];
const revoked = [
  { serial: bad.serial, atSeconds: clock.nowSeconds() - 1, reason: "key-compromise" as const },
];
const list = issueRevocationList(issuer, { number: 7, revoked }, clock);
const ofRoot = issueRevocationList(root, { number: 7, revoked: [] }, clock);
let folder = "";

beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), "troth-crl-"));
  await writeFile(join(folder, "issuer.pem"), pem("CERTIFICATE", issuer.certificate.der));
  await writeFile(join(folder, "root.pem"), pem("CERTIFICATE", root.certificate.der));
  await writeFile(join(folder, "list.der"), list);
  await writeFile(join(folder, "lists.pem"), pem("X509 CRL", list) + pem("X509 CRL", ofRoot));
});
afterAll(() => rm(folder, { recursive: true, force: true }));

function issued(): IssuedSvid {
  const proof = valueOf(parseCertificateRequest(buildCertificateRequest(keys.privateKey)));
  return valueOf(
    issueSvid(issuer, { proof, spiffeId: testId("spiffe://shop.example/shop/payments") }, world),
  );
}

function pem(label: string, der: Uint8Array): string {
  const lines =
    Buffer.from(der)
      .toString("base64")
      .match(/.{1,64}/g) ?? [];
  return `-----BEGIN ${label}-----\n${lines.join("\n")}\n-----END ${label}-----\n`;
}

test("OpenSSL verifies a CA's list under that CA, and reads number and reason", async () => {
  const args = ["crl", "-inform", "DER", "-in", join(folder, "list.der"), "-noout", "-text", "-verify"];

  const { stdout, stderr } = await run("openssl", [...args, "-CAfile", join(folder, "issuer.pem")]);

  expect(stderr).toContain("verify OK");
  expect(stdout).toContain("Key Compromise");
  expect(stdout).toMatch(/X509v3 CRL Number:\s+7\n/);
  expect(stdout).toContain(bad.serial.toUpperCase());
});

test.each([
  ["good", good, "OK"],
  ["revoked", bad, "certificate revoked"],
])(
  "OpenSSL finds a %s certificate to be that, with the lists of the whole path",
  async (_name, svid, said) => {
    const leaf = join(folder, `${svid.serial}.pem`);
    await writeFile(leaf, pem("CERTIFICATE", svid.certificate));
    const trust = ["-CAfile", join(folder, "root.pem"), "-untrusted", join(folder, "issuer.pem")];
    const checks = ["-crl_check_all", "-CRLfile", join(folder, "lists.pem")];

    const { stdout, stderr } = await run("openssl", ["verify", ...trust, ...checks, leaf]).catch(
      (error: { stdout: string; stderr: string }) => error,
    );

    expect(`${stdout}${stderr}`).toContain(said);
  },
);

test.each([
  ["accepts a good certificate", good, ""],
  ["refuses a revoked one", bad, "CERT_REVOKED"],
])("Node's own check with the crl option %s", async (_name, svid, error) => {
  const server = tls.createServer({
    cert: pem("CERTIFICATE", good.certificate) + pem("CERTIFICATE", issuer.certificate.der),
    key: pemOfPrivateKey(keys.privateKey),
    ca: pem("CERTIFICATE", root.certificate.der),
    crl: [pem("X509 CRL", list), pem("X509 CRL", ofRoot)],
    requestCert: true,
    rejectUnauthorized: false,
  });
  await new Promise<void>((done) => server.listen(0, "127.0.0.1", done));
  const address = server.address();
  const seen = new Promise<string>((done) => {
    server.once("secureConnection", (socket) => done(String(socket.authorizationError ?? "")));
  });
  const client = tls.connect({
    port: typeof address === "object" && address !== null ? address.port : 0,
    host: "127.0.0.1",
    cert: pem("CERTIFICATE", svid.certificate) + pem("CERTIFICATE", issuer.certificate.der),
    key: pemOfPrivateKey(keys.privateKey),
    rejectUnauthorized: false,
  });
  client.on("error", () => {});

  expect(await seen).toBe(error);

  client.destroy();
  server.close();
});
