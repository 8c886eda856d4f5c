import { mkdtemp, rm, writeFile } from "node:fs/promises";
import https from "node:https";
import { tmpdir } from "node:os";
import { join } from "node:path";
import tls from "node:tls";
import { afterEach, beforeEach, expect, it } from "vitest";
import { edgeCertificate } from "../../../test/apparatus/edge-certificate.ts";
import { until } from "../../../test/apparatus/mesh-in-process.ts";
import { silentLog } from "../../../test/fakes/silent-log.ts";
import { SmallTrustLog } from "../../../test/fakes/small-trust-log.ts";
import { base64Of } from "../../base/bytes.ts";
import { checkSvid, parseSpiffeBundle, trustBundlesOf } from "../../identity/index.ts";
import { testDomain, testId, testWorld, valueOf } from "../../identity/svid-for-tests.ts";
import { PublishedBundle } from "./domain-bundle.ts";
import { type BundleEndpoint, type EndpointProof, openBundleEndpoint } from "./open-bundle-endpoint.ts";

const nowSeconds = Math.floor(new Date().getTime() / 1000);
const domain = testDomain("example.org", testWorld(nowSeconds));
const endpointId = testId("spiffe://example.org/troth/bundle-endpoint");
let log: SmallTrustLog;
let endpoint: BundleEndpoint | undefined;
let folder: string;

beforeEach(async () => {
  log = new SmallTrustLog();
  log.put("ca.trust", { certificate: base64Of(domain.root.certificate.der) });
  folder = await mkdtemp(join(tmpdir(), "troth-endpoint-"));
});
afterEach(async () => {
  await endpoint?.[Symbol.asyncDispose]();
  await rm(folder, { recursive: true });
});

function published(): PublishedBundle {
  const source = { state: () => log.state, size: () => log.entries.length };
  return new PublishedBundle({ trustDomain: domain.trustDomain, ...source });
}

async function open(
  proof: EndpointProof = { profile: "https_spiffe", spiffeId: endpointId },
): Promise<number> {
  endpoint = await openBundleEndpoint({
    listen: { host: "127.0.0.1", port: 0 },
    proof,
    bundle: published(),
    authority: () => domain.issuer,
    svidLifetimeSeconds: 600,
    ...testWorld(nowSeconds),
    log: silentLog,
    lookMillis: 20,
  });
  return Number(endpoint.address.split(":")[1]);
}

function get(
  port: number,
  options: https.RequestOptions = {},
): Promise<{ status: number; body: string; type: string }> {
  return new Promise((resolve, reject) => {
    const request = https.request(
      { host: "127.0.0.1", port, path: "/", agent: false, rejectUnauthorized: false, ...options },
      (response) => {
        let body = "";
        response.on("data", (chunk) => (body += String(chunk)));
        response.on("end", () =>
          resolve({ status: response.statusCode ?? 0, body, type: response.headers["content-type"] ?? "" }),
        );
      },
    );
    request.on("error", reject).end();
  });
}

/** The handshake's end, and the certificates that came. */
function shakeHands(port: number, options: tls.ConnectionOptions = {}): Promise<Uint8Array[]> {
  return new Promise((resolve, reject) => {
    const socket = tls.connect({ host: "127.0.0.1", port, rejectUnauthorized: false, ...options }, () => {
      const chain: Uint8Array[] = [];
      for (let one = socket.getPeerX509Certificate(); one !== undefined; one = one.issuerCertificate)
        chain.push(one.raw);
      socket.destroy();
      resolve(chain);
    });
    socket.on("error", reject);
  });
}

it("serves the roots that the log trusts, to anybody, as JSON", async () => {
  const { status, body, type } = await get(await open());

  const bundle = valueOf(parseSpiffeBundle(domain.trustDomain, body));
  expect([status, type]).toEqual([200, "application/json"]);
  expect(bundle.x509.authorities.map(({ sha256 }) => sha256)).toEqual([domain.root.certificate.sha256]);
  expect([bundle.sequence, bundle.refreshHintSeconds]).toEqual([2n, 60]);
});

it("gives a higher sequence exactly when the content is another", () => {
  const bundle = published();
  const sequence = (): bigint | undefined =>
    valueOf(parseSpiffeBundle(domain.trustDomain, bundle.text)).sequence;

  const first = sequence();
  log.put("service.put", {
    name: "/web",
    nodes: ["*"],
    dataClass: "internal",
    team: "",
    environment: "",
    labels: {},
  });
  const unchanged = sequence();
  log.put("ca.trust", { certificate: base64Of(testDomain("example.org").root.certificate.der) });

  expect([first, unchanged, sequence()]).toEqual([2n, 2n, 4n]);
});

it("is an SVID of the configured SPIFFE ID, and asks no certificate of the client", async () => {
  const chain = await shakeHands(await open());

  const svid = valueOf(checkSvid(chain, trustBundlesOf(domain.bundle), nowSeconds));
  expect(svid.spiffeId).toBe(endpointId);
});

it.each([
  ["TLS 1.3", { minVersion: "TLSv1.3" }, true],
  ["TLS 1.2 with ECDHE", { maxVersion: "TLSv1.2" }, true],
  ["TLS 1.2 without forward secrecy", { maxVersion: "TLSv1.2", ciphers: "AES128-GCM-SHA256" }, false],
  ["TLS 1.2 with CBC", { maxVersion: "TLSv1.2", ciphers: "ECDHE-ECDSA-AES128-SHA" }, false],
  ["TLS 1.1", { minVersion: "TLSv1.1", maxVersion: "TLSv1.1", ciphers: "DEFAULT@SECLEVEL=0" }, false],
] as const)("speaks %s: %j is %s", async (_name, options, isSpoken) => {
  const port = await open();

  const outcome = await shakeHands(port, options).then(
    () => true,
    () => false,
  );
  expect(outcome).toBe(isSpoken);
});

it.each([
  ["POST", "/", 405],
  ["HEAD", "/", 405],
  ["GET", "/other", 404],
])("answers %s %s with %i", async (method, path, status) => {
  expect((await get(await open(), { method, path })).status).toBe(status);
});

it("takes files that are written anew, and keeps what it has while they do not fit each other", async () => {
  const [certificateFile, keyFile] = [join(folder, "cert.pem"), join(folder, "key.pem")];
  const [first, second] = [edgeCertificate("localhost"), edgeCertificate("localhost")];
  await writeFile(certificateFile, first.chainPem);
  await writeFile(keyFile, first.keyPem);
  const port = await open({ profile: "https_web", certificateFile, keyFile });
  const before = await shakeHands(port);

  await writeFile(certificateFile, second.chainPem);
  await new Promise((resolve) => setTimeout(resolve, 100));
  const between = await shakeHands(port);
  await writeFile(keyFile, second.keyPem);
  await until(
    async () => !Buffer.from((await shakeHands(port))[0] ?? "").equals(Buffer.from(before[0] ?? "")),
  );

  expect(between).toEqual(before);
});

it("does not begin with a certificate and a key that do not belong together", async () => {
  const [certificateFile, keyFile] = [join(folder, "cert.pem"), join(folder, "key.pem")];
  await writeFile(certificateFile, edgeCertificate("localhost").chainPem);
  await writeFile(keyFile, edgeCertificate("localhost").keyPem);

  await expect(open({ profile: "https_web", certificateFile, keyFile })).rejects.toThrow(
    /no certificate with its key/,
  );
});
