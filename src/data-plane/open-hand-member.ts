import { once } from "node:events";
import http2 from "node:http2";
import tls from "node:tls";
import { hostAndPort } from "../base/host-and-port.ts";
import { sha256 } from "../crypto/index.ts";
import {
  keyPeriodAt,
  requestTokenExporterLabel,
  requestTokenMinter,
  type TokenRequest,
} from "../request-token/index.ts";
import type { SvidInUse } from "../transport/index.ts";
import { requestTokenName } from "./forwarding/index.ts";
import { openCore } from "./open-core.ts";
import type { ProxyContext } from "./proxy-context.ts";
import type { ProxyOptions } from "./proxy-options.ts";

const connectTimeoutMillis = 5_000;
const answerTimeoutMillis = 10_000;

/** Where somebody is called. */
export interface CalledProxy {
  readonly service: string;
  /** host:port of its proxy's listener for the mesh. */
  readonly address: string;
}

/** What is asked by hand. */
export interface HandRequest {
  readonly method: string;
  readonly path: string;
  /** JSON; none where absent. */
  readonly body?: string;
}

/** What the other proxy answered. */
export interface HandReply {
  readonly status: number;
  /** In a problem answer; empty in others. */
  readonly reason: string;
  readonly headers: http2.IncomingHttpHeaders;
}

/** What is minted by hand and no proxy would mint. */
export interface HandWishes {
  /** How wrong the clock is. */
  readonly shiftMillis?: number;
  /** Whose certificate and grant to use; its own unless given. */
  readonly victim?: HandConnection;
}

/** A connection that shows request tokens as it likes. */
export interface HandConnection extends AsyncDisposable {
  readonly svid: SvidInUse;
  readonly to: CalledProxy;
  readonly context: ProxyContext;
  /** A token for a request, good on this connection unless wished otherwise; empty where none is to be had or needed. */
  readonly mint: (request: HandRequest, wishes?: HandWishes) => Promise<string>;
  readonly ask: (request: HandRequest, token: string) => Promise<HandReply>;
  /** Who checks at the other end, as that one says where it misses a token. */
  readonly audienceFor: (request: HandRequest) => Promise<string | undefined>;
}

/** A member of the mesh that does by hand what a proxy does, and may do it wrong: attackers and tests are such. */
export interface HandMember extends AsyncDisposable {
  readonly connect: (to: CalledProxy) => Promise<HandConnection>;
}

/** Registers an instance that listens nowhere; it has an SVID and may have grants. */
export async function openHandMember(options: ProxyOptions): Promise<HandMember> {
  const opened = await openCore(options, { role: "export", describe: () => ({}) });
  const { core, keeper } = opened;
  return {
    connect: (to) => connectByHand(core.context, keeper.current, to),
    [Symbol.asyncDispose]: () => Promise.resolve(opened[Symbol.asyncDispose]()),
  };
}

async function connectByHand(
  context: ProxyContext,
  svid: SvidInUse,
  to: CalledProxy,
): Promise<HandConnection> {
  const socket = tls.connect({
    ...hostAndPort(to.address),
    cert: svid.chainPem,
    key: svid.privateKeyPem,
    minVersion: "TLSv1.3",
    rejectUnauthorized: false,
    ALPNProtocols: ["h2"],
  });
  await once(socket, "secureConnect", { signal: AbortSignal.timeout(connectTimeoutMillis) });
  const client = http2.connect(`https://${to.address}`, { createConnection: () => socket });
  client.on("error", () => {});
  const channelBinding = socket.exportKeyingMaterial(32, requestTokenExporterLabel, Buffer.alloc(0));
  const ask: HandConnection["ask"] = (request, token) => askByHand(client, { to, request, token });
  const connection: HandConnection = {
    svid,
    to,
    context,
    ask,
    audienceFor: async ({ method, path }) => {
      // Without a body, so that nothing comes of it should it be let in.
      const refused = await ask({ method, path }, "");
      const audience = refused.headers["troth-token-audience"];
      return typeof audience === "string" ? audience : undefined;
    },
    mint: async (asked, { shiftMillis = 0, victim = connection } = {}) => {
      const audience = await victim.audienceFor(asked);
      if (audience === undefined) return "";
      const { method, path } = asked;
      const request = { method, destination: to.service, path, contentDigest: "" };
      return mintByHand(victim, { audience, channelBinding, shiftMillis, request });
    },
    [Symbol.asyncDispose]: async () => {
      const closed = socket.destroyed ? Promise.resolve() : once(socket, "close");
      client.destroy();
      await closed;
    },
  };
  return connection;
}

interface Minting {
  readonly audience: string;
  readonly channelBinding: Uint8Array;
  readonly shiftMillis: number;
  readonly request: TokenRequest;
}

/** Mints with the certificate and the grant of whoever `holder` is. */
async function mintByHand({ context, svid }: HandConnection, minting: Minting): Promise<string> {
  const { requestTokens, service, view } = context;
  const { audience, channelBinding, request } = minting;
  const grant = requestTokens.grants.grantFor({ svid, audience, destination: request.destination });
  const now = requestTokens.issuerTime.nowMillis();
  const millis = now + minting.shiftMillis;
  const keyOf = (): ReturnType<typeof grant.keyOf> =>
    // Nobody is granted keys of the past, so a token of then may have to do with one of today.
    grant.keyOf(keyPeriodAt(millis)) ?? grant.keyOf(keyPeriodAt(now));
  if (keyOf() === undefined) await grant.obtain();
  const key = keyOf();
  if (key === undefined) return "";
  const mint = requestTokenMinter({
    audience,
    spiffeId: `spiffe://${view.follower.state.genesis?.trustDomain ?? ""}${service}`,
    source: service,
    channelBinding,
    mode: "granted",
    certificateFingerprint: sha256(svid.certificate),
    nonces: requestTokens.nonces,
  });
  return mint(key, request, millis);
}

async function askByHand(
  client: http2.ClientHttp2Session,
  { to, request, token }: { readonly to: CalledProxy; readonly request: HandRequest; readonly token: string },
): Promise<HandReply> {
  const host = `${to.service.slice(1).split("/").reverse().join(".")}.mesh`;
  const { method, path, body: sent = "" } = request;
  const fields = {
    ":method": method,
    ":path": path,
    ":authority": host,
    ...(sent === "" ? {} : { "content-type": "application/json" }),
    ...(token === "" ? {} : { [requestTokenName]: token }),
  };
  const stream = client.request(fields, { endStream: sent === "" });
  if (sent !== "") stream.end(sent);
  stream.on("error", () => {});
  let body = "";
  stream.setEncoding("utf8");
  stream.on("data", (chunk: string) => {
    body += chunk;
  });
  const signal = AbortSignal.timeout(answerTimeoutMillis);
  const ended = once(stream, "end", { signal });
  const [headers]: http2.IncomingHttpHeaders[] = await once(stream, "response", { signal });
  await ended;
  const reason = /"reason":"([a-z-]+)"/.exec(body)?.[1] ?? "";
  return { status: Number(headers?.[":status"]), reason, headers: headers ?? {} };
}
