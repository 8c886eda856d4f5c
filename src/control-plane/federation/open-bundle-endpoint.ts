import { readFile, stat } from "node:fs/promises";
import type { IncomingMessage, ServerResponse } from "node:http";
import https from "node:https";
import type { Socket } from "node:net";
import { createSecureContext } from "node:tls";
import type { Clock, RandomBytes } from "../../base/clock.ts";
import type { Log } from "../../base/log.ts";
import { codeOf, MeshError, messageOf } from "../../base/mesh-error.ts";
import {
  buildCertificateRequest,
  generateP256,
  parseCertificateRequest,
  pemOfPrivateKey,
} from "../../crypto/index.ts";
import {
  type CertificateAuthority,
  issueSvid,
  nextRotationSeconds,
  type SpiffeId,
} from "../../identity/index.ts";
import { makeRoom } from "../../telemetry/index.ts";
import { HalfOpen, pemOfCertificate, publicCiphers } from "../../transport/index.ts";
import type { PublishedBundle } from "./domain-bundle.ts";

const connectionsMax = 512;
/** Of one source, in their handshake. */
const halfOpenPerSourceMax = 64;
/** Of all, without a whole request; one more ends the oldest. */
const waitingConnectionsMax = 256;
const handshakeTimeoutMillis = 5_000;
const headersTimeoutMillis = 5_000;
const requestTimeoutMillis = 5_000;
/** How long a reader may leave what it asked for unread. */
const idleTimeoutMillis = 10_000;
const keepAliveTimeoutMillis = 5_000;
const headBytesMax = 8 * 1024;
const requestsPerConnectionMax = 32;
/** How often files are looked at, and how soon a failed renewal is tried again. */
const lookIntervalMillis = 5_000;

const endpointTls = {
  minVersion: "TLSv1.2",
  ciphers: publicCiphers,
  ecdhCurve: "X25519:prime256v1:secp384r1",
} as const;

/** How an endpoint proves itself: by an SVID of this trust domain, or by files with a certificate of the public web. */
export type EndpointProof =
  | { readonly profile: "https_spiffe"; readonly spiffeId: SpiffeId }
  | { readonly profile: "https_web"; readonly certificateFile: string; readonly keyFile: string };

/** What a bundle endpoint needs. */
export interface BundleEndpointOptions {
  readonly listen: { readonly host: string; readonly port: number };
  readonly proof: EndpointProof;
  readonly bundle: PublishedBundle;
  /** The CA of now. */
  readonly authority: () => CertificateAuthority | undefined;
  readonly svidLifetimeSeconds: number;
  readonly clock: Clock;
  readonly randomBytes: RandomBytes;
  readonly log: Log;
  /** How often certificates are looked at; every five seconds unless given. */
  readonly lookMillis?: number;
}

/** A running bundle endpoint. */
export interface BundleEndpoint extends AsyncDisposable {
  /** host:port. */
  readonly address: string;
}

/** A certificate chain with its key, and from when on another one is to be had. */
interface Credentials {
  readonly cert: string;
  readonly key: string;
  /** Whether it is time for others. */
  readonly isDue: () => boolean | Promise<boolean>;
}

/**
 * Serves the trust domain's bundle to whoever asks (SPIFFE Federation section 5.2): `GET /` over HTTPS, and nothing is
 * asked of the client, since the answer is public.
 */
export async function openBundleEndpoint(options: BundleEndpointOptions): Promise<BundleEndpoint> {
  const { bundle, log } = options;
  let credentials = await obtain(options);
  const server = https.createServer(
    {
      ...endpointTls,
      cert: credentials.cert,
      key: credentials.key,
      handshakeTimeout: handshakeTimeoutMillis,
      headersTimeout: headersTimeoutMillis,
      requestTimeout: requestTimeoutMillis,
      keepAliveTimeout: keepAliveTimeoutMillis,
      maxHeaderSize: headBytesMax,
      connectionsCheckingInterval: 1_000,
    },
    (request, response) => answer(bundle, request, response),
  );
  server.maxConnections = connectionsMax;
  server.maxRequestsPerSocket = requestsPerConnectionMax;
  server.setTimeout(idleTimeoutMillis, (socket) => socket.destroy());
  const sockets = boundConnections(server);
  let isLooking = false;
  const look = async (): Promise<void> => {
    if (isLooking || !(await credentials.isDue())) return;
    isLooking = true;
    try {
      credentials = await obtain(options);
      server.setSecureContext({ ...endpointTls, cert: credentials.cert, key: credentials.key });
    } catch (error) {
      log.warn("bundle endpoint keeps its certificate", { error: messageOf(error) });
    } finally {
      isLooking = false;
    }
  };
  const timer = setInterval(() => void look(), options.lookMillis ?? lookIntervalMillis);
  const address = await listen(server, options.listen).catch((error: unknown) => {
    clearInterval(timer);
    throw error;
  });
  return {
    address,
    [Symbol.asyncDispose]: async () => {
      clearInterval(timer);
      const closed = new Promise<void>((resolve) => server.close(() => resolve()));
      for (const socket of sockets) socket.destroy();
      await closed;
    },
  };
}

function boundConnections(server: https.Server): ReadonlySet<Socket> {
  const halfOpen = new HalfOpen(halfOpenPerSourceMax);
  const sockets = new Set<Socket>();
  server.on("connection", (socket: Socket) => {
    halfOpen.add(socket);
    sockets.add(socket);
    socket.once("close", () => sockets.delete(socket));
  });
  server.on("secureConnection", (socket) => halfOpen.settle(socket));
  server.on("tlsClientError", (_error, socket) => socket.destroy());
  makeRoom(server, waitingConnectionsMax);
  return sockets;
}

function answer(
  bundle: PublishedBundle,
  { method, url = "" }: IncomingMessage,
  response: ServerResponse,
): void {
  response.setHeader("content-type", "application/json");
  response.setHeader("x-content-type-options", "nosniff");
  if (method !== "GET") {
    // What comes with it is not waited for.
    response.setHeader("allow", "GET").setHeader("connection", "close");
    response.writeHead(405).end('{"reason":"wrong-method"}');
  } else if (url !== "/") response.writeHead(404).end('{"reason":"unknown-path"}');
  else response.writeHead(200).end(bundle.text);
}

function obtain(options: BundleEndpointOptions): Promise<Credentials> {
  const { proof } = options;
  return proof.profile === "https_web"
    ? readCredentials(proof.certificateFile, proof.keyFile)
    : Promise.resolve(ownCredentials(options, proof.spiffeId));
}

/** Files as they are now; others are due once either has been written anew. */
async function readCredentials(certificateFile: string, keyFile: string): Promise<Credentials> {
  const versionOf = async (): Promise<string> => {
    const files = await Promise.all([stat(certificateFile), stat(keyFile)]);
    return files.map(({ mtimeMs, ino, size }) => `${mtimeMs} ${ino} ${size}`).join();
  };
  const version = await versionOf();
  const [cert, key] = await Promise.all([readFile(certificateFile, "utf8"), readFile(keyFile, "utf8")]);
  try {
    createSecureContext({ cert, key });
  } catch (cause) {
    const problem = `${certificateFile} and ${keyFile} are no certificate with its key: ${messageOf(cause)}`;
    throw new MeshError("ERR_CONTROL_PLANE_BUNDLE_ENDPOINT", problem, { cause });
  }
  return {
    cert,
    key,
    isDue: () =>
      versionOf()
        .then((now) => now !== version)
        .catch(() => false),
  };
}

/**
 * An SVID of the mesh's own part. It stands in no log, since it is good for nothing inside of the mesh, where a
 * certificate counts only if the log names it.
 */
function ownCredentials(
  { authority, svidLifetimeSeconds, clock, randomBytes }: BundleEndpointOptions,
  spiffeId: SpiffeId,
): Credentials {
  const { privateKey } = generateP256();
  const proof = parseCertificateRequest(buildCertificateRequest(privateKey));
  const request = proof.ok
    ? { proof: proof.value, spiffeId, lifetimeSeconds: svidLifetimeSeconds }
    : undefined;
  const by = authority();
  if (by === undefined || request === undefined)
    throw new MeshError("ERR_CONTROL_PLANE_BUNDLE_ENDPOINT", `nothing signs an SVID for ${spiffeId} now`);
  const issued = issueSvid(by, request, { clock, randomBytes });
  if (!issued.ok)
    throw new MeshError("ERR_CONTROL_PLANE_BUNDLE_ENDPOINT", `no SVID for ${spiffeId}: ${issued.reason}`);
  const dueSeconds = nextRotationSeconds(issued.value, 0.5);
  return {
    cert: issued.value.chain.map(pemOfCertificate).join(""),
    key: pemOfPrivateKey(privateKey),
    isDue: () =>
      clock.nowSeconds() >= dueSeconds || authority()?.certificate.sha256 !== by.certificate.sha256,
  };
}

function listen(server: https.Server, { host, port }: { host: string; port: number }): Promise<string> {
  return new Promise((resolve, reject) => {
    // Stays on, so that an error after the start does not end the process.
    server.on("error", (cause) => {
      const why = codeOf(cause) === "EADDRINUSE" ? "it is in use by another process" : cause.message;
      const problem = `the bundle endpoint cannot listen on ${host}:${port}: ${why}`;
      reject(new MeshError("ERR_CONTROL_PLANE_BUNDLE_ENDPOINT", problem, { cause }));
    });
    server.listen({ host, port }, () => {
      const address = server.address();
      const bound = typeof address === "object" && address !== null ? address.port : port;
      resolve(`${host.includes(":") ? `[${host}]` : host}:${bound}`);
    });
  });
}
