import { createHash, randomBytes, X509Certificate } from "node:crypto";
import tls from "node:tls";
import {
  authorityConstraints,
  type CertificateExtension,
  distinguishedName,
  generateP256,
  keyUsageExtension,
  pemOfPrivateKey,
  uriNamesExtension,
} from "../../src/crypto/index.ts";
import {
  type CertificateAuthority,
  encodeWorkloadMetadata,
  openAuthority,
  parseServiceName,
  parseSpiffeId,
  workloadMetadataOid,
} from "../../src/identity/index.ts";
import { forge, leafExtensions } from "../../src/identity/svid-for-tests.ts";
import { pemOfCertificate } from "../../src/transport/index.ts";
import type { MeshInProcess } from "./mesh-in-process.ts";

const waitMillisMax = 8_000;

/** A certificate that somebody made, with its key. */
export interface Papers {
  readonly cert: string;
  readonly key: string;
  readonly sha256: string;
  readonly serial: string;
  readonly notAfterSeconds: number;
}

/** What a certificate says; the usual is a good leaf. */
export interface PaperWishes {
  readonly extensions?: (usual: CertificateExtension[]) => CertificateExtension[];
  readonly notBeforeSeconds?: number;
  readonly notAfterSeconds?: number;
  readonly presented?: readonly Uint8Array[];
}

/** Signs papers for SPIFFE IDs with a CA's key. */
export function makePapers(
  authority: CertificateAuthority,
  uris: readonly string[],
  wishes: PaperWishes = {},
): Papers {
  const nowSeconds = Math.floor(Date.now() / 1000);
  const { notBeforeSeconds = nowSeconds - 10, notAfterSeconds = nowSeconds + 600 } = wishes;
  const keys = generateP256();
  const usual = leafExtensions(authority, ...uris);
  const extensions = wishes.extensions?.(usual) ?? usual;
  const serial = randomBytes(15);
  const content = { extensions, notBeforeSeconds, notAfterSeconds, serial: Uint8Array.of(0x40, ...serial) };
  const leaf = forge(authority, content, keys);
  return {
    cert: [leaf, ...(wishes.presented ?? authority.presentedIssuers)].map(pemOfCertificate).join(""),
    key: pemOfPrivateKey(keys.privateKey),
    sha256: createHash("sha256").update(leaf).digest("hex"),
    serial: `40${serial.toString("hex")}`,
    notAfterSeconds,
  };
}

const p256Order = 0xffffffff00000000ffffffffffffffffbce6faada7179e84f3b9cac2fc632551n;

/**
 * The same certificate with the other of its two valid signatures, (r, n-s) for (r, s), which anybody can write: it
 * says the same under the same key and has another hash.
 */
export function twinOf(papers: Papers): Papers {
  const [leaf = "", ...issuers] = papers.cert.split(/(?<=-----END CERTIFICATE-----\n)/);
  const der = new X509Certificate(leaf).raw;
  const bodyStart = 4 + 4 + der.readUInt16BE(6);
  const algorithmEnd = bodyStart + 2 + (der[bodyStart + 1] ?? 0);
  // BIT STRING { 0 unused bits, SEQUENCE { INTEGER r, INTEGER s } }
  const rStart = algorithmEnd + 5;
  const rEnd = rStart + 2 + (der[rStart + 1] ?? 0);
  const s = BigInt(`0x${der.subarray(rEnd + 2).toString("hex")}`);
  const digits = (p256Order - s).toString(16).padStart(64, "0");
  const other = Buffer.from(Number.parseInt(digits[0] ?? "0", 16) >= 8 ? `00${digits}` : digits, "hex");
  const signature = tlv(0x30, Buffer.concat([der.subarray(rStart, rEnd), tlv(0x02, other)]));
  const bits = tlv(0x03, Buffer.concat([Buffer.of(0), signature]));
  const content = Buffer.concat([der.subarray(4, algorithmEnd), bits]);
  const length = Buffer.alloc(2);
  length.writeUInt16BE(content.length);
  const twin = Buffer.concat([Buffer.of(0x30, 0x82), length, content]);
  const sha256 = createHash("sha256").update(twin).digest("hex");
  return { ...papers, cert: [pemOfCertificate(twin), ...issuers].join(""), sha256 };
}

function tlv(tag: number, value: Buffer): Buffer {
  return Buffer.concat([Buffer.of(tag, value.length), value]);
}

/** Two CA certificates of which each claims the other as its issuer, and a CA to issue under the first. */
export function circleOfAuthorities(own: CertificateAuthority): CertificateAuthority {
  const [one, other] = [generateP256(), generateP256()];
  const names = [distinguishedName("Circle", "one"), distinguishedName("Circle", "other")] as const;
  const extensions = [
    authorityConstraints(3),
    keyUsageExtension(["keyCertSign"]),
    uriNamesExtension([`spiffe://${own.trustDomain}`]),
  ];
  const signed = (by: typeof one, issuer: Uint8Array, subject: Uint8Array, keys: typeof one): Uint8Array => {
    const notBeforeSeconds = Math.floor(Date.now() / 1000) - 10;
    const period = { notBeforeSeconds, notAfterSeconds: notBeforeSeconds + 600 };
    return forge({ ...own, privateKey: by.privateKey }, { issuer, subject, extensions, ...period }, keys);
  };
  const first = signed(other, names[1], names[0], one);
  const second = signed(one, names[0], names[1], other);
  const authority = openAuthority(own.trustDomain, first, one.privateKey);
  return { ...authority, presentedIssuers: [first, second] };
}

/** The extension in which an SVID says what it is for. */
export function metadataExtension(instance: string, service: string, node = "here"): CertificateExtension {
  const name = parseServiceName(service);
  if (!name.ok) throw new Error(name.reason);
  const value = encodeWorkloadMetadata({ instance, service: name.value, node, labels: {} });
  return { oid: workloadMetadataOid, critical: false, value };
}

/** Puts papers into the trust log as issued to an instance, as the thief of the issuer's key would. */
export async function logPapers(
  mesh: MeshInProcess,
  papers: Papers,
  of: { readonly instance: string; readonly service: string },
): Promise<void> {
  const spiffeId = parseSpiffeId(`spiffe://${mesh.trustDomain}${of.service}`);
  if (!spiffeId.ok) throw new Error(spiffeId.reason);
  const body = {
    certificate: papers.sha256,
    spiffeId: spiffeId.value,
    instance: of.instance,
    serial: papers.serial,
    notBeforeSeconds: papers.notAfterSeconds - 600,
    notAfterSeconds: papers.notAfterSeconds,
  };
  const written = await mesh.controlPlane.writer.write([{ role: "issuer", kind: "svid.issue", body }]);
  if (!written.ok) throw new Error(`${written.reason} ${written.detail}`);
}

/** What a client saw of a listener. */
export interface Encounter {
  /** All bytes that came, as text. */
  readonly answer: string;
  /** The error that ended it, if one did. */
  readonly error: string;
  readonly millis: number;
  readonly isResumed: boolean;
  readonly protocol: string;
  readonly sessions: readonly Buffer[];
}

/** Connects to `address` past any sidecar, writes `request` as early as TLS lets it, and waits for the end. */
export function meet(
  address: string,
  options: tls.ConnectionOptions,
  request = "GET /secret HTTP/1.1\r\nHost: x\r\n\r\n",
): Promise<Encounter> {
  const [host = "", port = ""] = address.split(":");
  const startedMillis = performance.now();
  return new Promise((resolve) => {
    const sessions: Buffer[] = [];
    const seen = { answer: "", error: "", isResumed: false, protocol: "" };
    const socket = tls.connect({
      host,
      port: Number(port),
      rejectUnauthorized: false,
      checkServerIdentity: () => undefined,
      ...options,
    });
    // Before the handshake is done: the bytes leave in the same flight as its end.
    socket.write(request);
    const timer = setTimeout(() => socket.destroy(new Error("still open")), waitMillisMax);
    socket.on("session", (session: Buffer) => sessions.push(session));
    socket.on("secureConnect", () => {
      seen.isResumed = socket.isSessionReused();
      seen.protocol = socket.getProtocol() ?? "";
    });
    socket.on("data", (chunk: Buffer) => {
      seen.answer += chunk.toString("latin1");
      setTimeout(() => socket.destroy(), 50);
    });
    socket.on("error", (error) => {
      seen.error = error.message;
    });
    socket.on("close", () => {
      clearTimeout(timer);
      resolve({ ...seen, millis: performance.now() - startedMillis, sessions });
    });
  });
}
