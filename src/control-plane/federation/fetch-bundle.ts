import type { IncomingMessage } from "node:http";
import https from "node:https";
import tls from "node:tls";
import { textOf } from "../../base/bytes.ts";
import { messageOf } from "../../base/mesh-error.ts";
import { fail, ok, type Result } from "../../base/result.ts";
import {
  checkSvid,
  parseSpiffeBundle,
  presentedCertificatesMax,
  type SpiffeBundle,
  type SpiffeBundleRefusal,
  type SpiffeId,
  spiffeBundleBytesMax,
  type TrustBundle,
  type TrustDomain,
  trustBundlesOf,
} from "../../identity/index.ts";

/** How long all of it may take, redirects included. */
const fetchTimeoutMillis = 10_000;
const redirectsMax = 3;
const urlCharactersMax = 2048;
const headBytesMax = 16 * 1024;
const redirectStatuses: ReadonlySet<number> = new Set([301, 302, 303, 307, 308]);

/** How the endpoint proves itself to us: by the name in its URL, or by exactly one SPIFFE ID under a bundle. */
export type EndpointCheck =
  | {
      readonly profile: "https_web" /** Besides the public web's (PEM). */;
      readonly extraAuthorities?: string;
    }
  | { readonly profile: "https_spiffe"; readonly spiffeId: SpiffeId; readonly bundle: TrustBundle };

/** Where the bundle of a trust domain is. */
export interface BundleToFetch {
  readonly trustDomain: TrustDomain;
  readonly url: string;
  readonly check: EndpointCheck;
  readonly nowSeconds: number;
  readonly signal: AbortSignal;
}

/** Why a bundle was not had. */
export type FetchRefusal =
  | SpiffeBundleRefusal
  | "bad-url"
  | "unreachable"
  | "endpoint-not-trusted"
  | "unexpected-status"
  | "too-many-redirects"
  | "not-utf-8"
  | "timed-out";

/**
 * Asks an endpoint for a bundle (SPIFFE Federation section 5.2): wherever it redirects to is held to the same rules, and
 * nothing is asked of anybody who has not proved to be the endpoint. Never throws.
 */
export async function fetchBundle(to: BundleToFetch): Promise<Result<SpiffeBundle, FetchRefusal>> {
  const timeout = AbortSignal.timeout(fetchTimeoutMillis);
  const signal = AbortSignal.any([to.signal, timeout]);
  let url = to.url;
  for (let asked = 0; asked <= redirectsMax; asked += 1) {
    const target = endpointUrl(url);
    if (!target.ok) return target;
    const answer = await ask(to, target.value, signal);
    if (!answer.ok)
      return timeout.aborted ? fail("timed-out", `${url} within ${fetchTimeoutMillis / 1000} s`) : answer;
    if (answer.value.kind === "bundle") return parseSpiffeBundle(to.trustDomain, answer.value.text);
    url = URL.parse(answer.value.location, target.value)?.href ?? "";
  }
  return fail("too-many-redirects", `more than ${redirectsMax}`);
}

/** An https URL without user information. */
function endpointUrl(text: string): Result<URL, "bad-url"> {
  const url = text.length > urlCharactersMax ? null : URL.parse(text);
  const isGood = url?.protocol === "https:" && url.username === "" && url.password === "";
  return isGood && url !== null ? ok(url) : fail("bad-url", text.slice(0, 200));
}

type Answer =
  | { readonly kind: "bundle"; readonly text: string }
  | { readonly kind: "redirect"; readonly location: string };

async function ask(to: BundleToFetch, url: URL, signal: AbortSignal): Promise<Result<Answer, FetchRefusal>> {
  const connected = await connect(to, url, signal);
  if (!connected.ok) return connected;
  const socket = connected.value;
  try {
    const response = await get(url, socket, signal);
    const { statusCode = 0, headers } = response;
    if (redirectStatuses.has(statusCode)) return ok({ kind: "redirect", location: headers.location ?? "" });
    if (statusCode !== 200) return fail("unexpected-status", `${statusCode} from ${url.host}`);
    return await bodyOf(response);
  } catch (error) {
    return fail("unreachable", `${url.host}: ${messageOf(error)}`);
  } finally {
    socket.destroy();
  }
}

/** A connection whose other end has proved to be the endpoint. */
function connect(
  { check, nowSeconds }: BundleToFetch,
  url: URL,
  signal: AbortSignal,
): Promise<Result<tls.TLSSocket, "unreachable" | "endpoint-not-trusted">> {
  const host = url.hostname.replace(/^\[|\]$/g, "");
  const isName = !/^[0-9.]+$|:/.test(host);
  const socket = tls.connect({
    host,
    port: url.port === "" ? 443 : Number(url.port),
    minVersion: "TLSv1.2",
    ALPNProtocols: ["http/1.1"],
    ...(isName ? { servername: host } : {}),
    ...trustOptions(check),
  });
  return new Promise((resolve) => {
    const settle = (result: Awaited<ReturnType<typeof connect>>): void => {
      signal.removeEventListener("abort", giveUp);
      if (!result.ok) socket.destroy();
      resolve(result);
    };
    const giveUp = (): void => settle(fail("unreachable", "given up"));
    signal.addEventListener("abort", giveUp, { once: true });
    if (signal.aborted) giveUp();
    let isConnected = false;
    socket.once("connect", () => {
      isConnected = true;
    });
    socket.on("error", (error) =>
      settle(fail(isConnected ? "endpoint-not-trusted" : "unreachable", `${url.host}: ${messageOf(error)}`)),
    );
    socket.once("secureConnect", () => {
      const refusal = check.profile === "https_web" ? undefined : identityProblem(socket, check, nowSeconds);
      settle(refusal === undefined ? ok(socket) : fail("endpoint-not-trusted", `${url.host}: ${refusal}`));
    });
  });
}

/** For https_web Node checks the path and the name (RFC 6125); for https_spiffe neither its verdict nor its roots count. */
function trustOptions(check: EndpointCheck): tls.ConnectionOptions {
  if (check.profile === "https_spiffe")
    return { rejectUnauthorized: false, checkServerIdentity: () => undefined, ca: [] };
  const extra = check.extraAuthorities;
  return {
    rejectUnauthorized: true,
    ...(extra === undefined ? {} : { ca: [...tls.getCACertificates("default"), extra] }),
  };
}

/** Why the other end is not the endpoint; undefined where it is. */
function identityProblem(
  socket: tls.TLSSocket,
  { spiffeId, bundle }: Extract<EndpointCheck, { profile: "https_spiffe" }>,
  nowSeconds: number,
): string | undefined {
  const chain: Uint8Array[] = [];
  for (
    let certificate = socket.getPeerX509Certificate();
    certificate !== undefined && chain.length <= presentedCertificatesMax;
    certificate = certificate.issuerCertificate
  )
    chain.push(certificate.raw);
  const svid = checkSvid(chain, trustBundlesOf(bundle), nowSeconds);
  if (!svid.ok) return `${svid.reason} ${svid.detail}`.trim();
  return svid.value.spiffeId === spiffeId ? undefined : `it is ${svid.value.spiffeId}, not ${spiffeId}`;
}

function get(url: URL, socket: tls.TLSSocket, signal: AbortSignal): Promise<IncomingMessage> {
  return new Promise((resolve, reject) => {
    const request = https.request(url, {
      method: "GET",
      createConnection: () => socket,
      headers: { accept: "application/json", connection: "close" },
      maxHeaderSize: headBytesMax,
      signal,
    });
    request.once("error", reject);
    request.once("response", resolve);
    request.end();
  });
}

async function bodyOf(response: IncomingMessage): Promise<Result<Answer, FetchRefusal>> {
  const chunks: Uint8Array[] = [];
  let bytes = 0;
  for await (const chunk of response) {
    const part = Buffer.from(chunk);
    bytes += part.byteLength;
    if (bytes > spiffeBundleBytesMax) return fail("too-large", `more than ${spiffeBundleBytesMax} bytes`);
    chunks.push(part);
  }
  const text = textOf(Buffer.concat(chunks));
  return text === undefined ? fail("not-utf-8") : ok({ kind: "bundle", text });
}
