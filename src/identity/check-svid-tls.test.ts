import { X509Certificate } from "node:crypto";
import { once } from "node:events";
import type { AddressInfo } from "node:net";
import tls, { type DetailedPeerCertificate, type TLSSocket } from "node:tls";
import { expect, test } from "vitest";
import {
  authorityConstraints,
  type CertificateExtension,
  distinguishedName,
  exportPublicKey,
  generateP256,
  keyUsageExtension,
  objectIdentifier,
  pemOfPrivateKey,
  subjectKeyIdExtension,
  uriNamesExtension,
} from "../crypto/index.ts";
import { type CertificateAuthority, openAuthority } from "./certificate-authority.ts";
import { checkSvid } from "./check-svid.ts";
import { forge, leafExtensions, testDomain, testSvid, testWorld } from "./svid-for-tests.ts";
import { trustBundlesOf } from "./trust-bundle.ts";

// Real time, because OpenSSL asks the machine's clock.
const nowSeconds = Math.floor(new Date().getTime() / 1000);
const world = testWorld(nowSeconds);
const shop = testDomain("shop.example", world);
const bank = testDomain("bank.example", world);
const bundles = trustBundlesOf(shop.bundle, bank.bundle);
const serverKeys = generateP256();
const server = testSvid(shop.issuer, "spiffe://shop.example/shop/front", serverKeys, world);
const id = "spiffe://shop.example/shop/payments";

// A CA as most meshes have it: without name constraints.
const plainBank = rootWithoutConstraints();
const pooled = [shop.root.certificate.der, bank.root.certificate.der, plainBank.certificate.der];

test("Node authorizes a good SVID, and the check accepts it", async () => {
  expect(await handshake(shop.issuer, leafExtensions(shop.issuer, id))).toEqual({
    isAuthorized: true,
    verdict: "accepted",
  });
});

test("Node authorizes a leaf with two URIs, and the check refuses it", async () => {
  const extensions = leafExtensions(shop.issuer, id, "spiffe://shop.example/shop/admin");

  expect(await handshake(shop.issuer, extensions)).toEqual({
    isAuthorized: true,
    verdict: "several-uri-sans",
  });
});

test("Node authorizes a CA certificate as a leaf, and the check refuses it", async () => {
  const authority = [authorityConstraints(0), keyUsageExtension(["digitalSignature", "keyCertSign"])];
  const oids: string[] = [objectIdentifier.basicConstraints, objectIdentifier.keyUsage];
  const kept = leafExtensions(shop.root, id).filter(({ oid }) => !oids.includes(oid));

  expect(await handshake(shop.root, [...kept, ...authority])).toEqual({
    isAuthorized: true,
    verdict: "not-a-leaf",
  });
});

test("Node authorizes a leaf that names the trust domain itself, and the check refuses it", async () => {
  const extensions = leafExtensions(shop.issuer, "spiffe://shop.example");

  expect(await handshake(shop.issuer, extensions)).toEqual({ isAuthorized: true, verdict: "no-path" });
});

test("Node authorizes a name of one domain under the CA of another, and the check refuses it", async () => {
  const extensions = leafExtensions(plainBank, id);

  expect(await handshake(plainBank, extensions)).toEqual({ isAuthorized: true, verdict: "untrusted-issuer" });
});

test("the name constraint in our CAs makes even Node refuse a name of another domain", async () => {
  const own = leafExtensions(bank.issuer, "spiffe://bank.example/ledger");
  const foreign = leafExtensions(bank.issuer, id);

  expect(await handshake(bank.issuer, own, true)).toEqual({ isAuthorized: true, verdict: "accepted" });
  expect(await handshake(bank.issuer, foreign)).toEqual({ isAuthorized: false, verdict: "untrusted-issuer" });
  await expect(handshake(bank.issuer, foreign, true)).rejects.toThrow("socket hang up");
});

interface Verdicts {
  readonly isAuthorized: boolean;
  readonly verdict: string;
}

/** A client presents a certificate; what Node says of it at the server, and what the check says. */
async function handshake(
  issuer: CertificateAuthority,
  extensions: readonly CertificateExtension[],
  rejectUnauthorized = false,
): Promise<Verdicts> {
  const keys = generateP256();
  const leaf = forge(
    issuer,
    { extensions, notBeforeSeconds: nowSeconds - 10, notAfterSeconds: nowSeconds + 600 },
    keys,
  );
  const listener = tls.createServer({
    key: pemOfPrivateKey(serverKeys.privateKey),
    cert: pemOf(server.chain),
    ca: pooled.map((der) => pemOf([der])),
    requestCert: true,
    rejectUnauthorized,
    minVersion: "TLSv1.3",
  });
  listener.listen(0, "127.0.0.1");
  await once(listener, "listening");
  const client = tls.connect({
    port: portOf(listener.address()),
    host: "127.0.0.1",
    key: pemOfPrivateKey(keys.privateKey),
    cert: pemOf([leaf, ...issuer.presentedIssuers]),
    rejectUnauthorized: false,
  });
  client.on("error", () => {});
  try {
    return await verdictsOf(listener);
  } finally {
    client.destroy();
    listener.close();
  }
}

function verdictsOf(listener: tls.Server): Promise<Verdicts> {
  const { promise, resolve, reject } = Promise.withResolvers<Verdicts>();
  listener.on("tlsClientError", reject);
  listener.on("secureConnection", (socket: TLSSocket) => {
    const outcome = checkSvid(presentedBy(socket.getPeerCertificate(true)), bundles, nowSeconds);
    resolve({ isAuthorized: socket.authorized, verdict: outcome.ok ? "accepted" : outcome.reason });
    socket.destroy();
  });
  return promise;
}

function presentedBy(peer: DetailedPeerCertificate): readonly Uint8Array[] {
  const chain = [peer.raw];
  for (
    let at = peer;
    at.issuerCertificate !== undefined && at.issuerCertificate !== at;
    at = at.issuerCertificate
  ) {
    chain.push(at.issuerCertificate.raw);
  }
  return chain;
}

function rootWithoutConstraints(): CertificateAuthority {
  const { privateKey, publicKey } = generateP256();
  const name = distinguishedName("Plain CA");
  const extensions = [
    authorityConstraints(1),
    keyUsageExtension(["keyCertSign"]),
    uriNamesExtension(["spiffe://bank.example"]),
    subjectKeyIdExtension(exportPublicKey(publicKey)),
  ];
  const der = forge(
    { ...bank.root, privateKey },
    {
      issuer: name,
      subject: name,
      extensions,
      notBeforeSeconds: nowSeconds - 10,
      notAfterSeconds: nowSeconds + 600,
    },
    { privateKey, publicKey },
  );
  return openAuthority(bank.trustDomain, der, privateKey);
}

function pemOf(certificates: readonly Uint8Array[]): string {
  return certificates.map((der) => new X509Certificate(der).toString()).join("");
}

function portOf(address: AddressInfo | string | null): number {
  if (address === null || typeof address === "string") throw new Error("not listening");
  return address.port;
}
