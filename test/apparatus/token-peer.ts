import { once } from "node:events";
import http2 from "node:http2";
import tls from "node:tls";
import { sha256 } from "../../src/crypto/index.ts";
import { openCore } from "../../src/data-plane/open-core.ts";
import type { SidecarCore } from "../../src/data-plane/sidecar-core.ts";
import {
  keyPeriodAt,
  requestTokenExporterLabel,
  requestTokenMinter,
  type TokenRequest,
} from "../../src/request-token/index.ts";
import type { SvidInUse } from "../../src/transport/index.ts";
import type { MeshInProcess } from "./mesh-in-process.ts";
import type { Workload } from "./workload.ts";

/** What a callee's proxy answered. */
export interface TokenReply {
  readonly status: number;
  /** In a problem answer; empty in others. */
  readonly reason: string;
  readonly body: string;
  readonly headers: http2.IncomingHttpHeaders;
}

/** What a hand-written peer mints other than a proxy would. */
export interface MintWishes extends Partial<TokenRequest> {
  readonly shiftMillis?: number;
  readonly audience?: string;
  /** Of another connection. */
  readonly channelBinding?: Uint8Array;
  readonly svid?: SvidInUse;
}

/** One connection of HTTP/2 past any sidecar of the caller's own. */
export interface TokenConnection extends AsyncDisposable {
  readonly svid: SvidInUse;
  readonly channelBinding: Uint8Array;
  /** A token that is good on this connection for a GET of `/`, unless wished otherwise. */
  readonly mint: (wishes?: MintWishes) => Promise<string>;
  /** Who checks at the other end, as that one says. */
  readonly audience: () => Promise<string>;
  readonly ask: (
    token: string | readonly string[] | undefined,
    headers?: http2.OutgoingHttpHeaders,
  ) => Promise<TokenReply>;
}

/**
 * A member with good papers and grants, written by hand: it mints request tokens as a proxy does, and shows them as it
 * likes.
 */
export class TokenPeer implements AsyncDisposable {
  readonly core: SidecarCore;
  readonly #opened: AsyncDisposable;

  private constructor(core: SidecarCore, opened: AsyncDisposable) {
    this.core = core;
    this.#opened = opened;
  }

  /** Joins a mesh as a service; it listens nowhere. */
  static async open(mesh: MeshInProcess, service: string): Promise<TokenPeer> {
    if (!mesh.controlPlane.writer.state.services.has(service)) await mesh.putService(service);
    const opened = await openCore(mesh.proxyOptions(service), { role: "sidecar", describe: () => ({}) });
    return new TokenPeer(opened.core, opened);
  }

  /** Connects to a workload's proxy. */
  async connect(to: Pick<Workload, "service" | "sidecar" | "instance">): Promise<TokenConnection> {
    const { svid, context } = this.core;
    if (svid === undefined) throw new Error("no SVID");
    const address = to.sidecar.inboundAddress;
    const [host = "", port = ""] = address.split(":");
    const socket = tls.connect({
      host,
      port: Number(port),
      cert: svid.chainPem,
      key: svid.privateKeyPem,
      minVersion: "TLSv1.3",
      rejectUnauthorized: false,
      ALPNProtocols: ["h2"],
    });
    await once(socket, "secureConnect");
    const channelBinding = socket.exportKeyingMaterial(32, requestTokenExporterLabel, Buffer.alloc(0));
    const client = http2.connect(`https://${address}`, { createConnection: () => socket });
    client.on("error", () => {});
    const { requestTokens, service, view } = context;
    const ask: TokenConnection["ask"] = (token, headers) =>
      askWith(client, token, { host: hostOf(to.service), headers });
    let known: string | undefined;
    const audienceOf = async (): Promise<string> => {
      // A service that is called over TCP refuses a request as such, whatever it shows.
      for (const headers of [{}, { ":method": "CONNECT" }])
        known ??= (await ask(undefined, headers)).headers["troth-token-audience"]?.toString();
      return known ?? "";
    };
    const mint = async (wishes: MintWishes = {}): Promise<string> => {
      const { method = "GET", path = "/", contentDigest = "", destination = to.service } = wishes;
      const shown = wishes.svid ?? svid;
      const audience = wishes.audience ?? (await audienceOf());
      const grant = requestTokens.grants.grantFor({ svid: shown, audience, destination });
      const millis = requestTokens.issuerTime.nowMillis() + (wishes.shiftMillis ?? 0);
      if (grant.keyOf(keyPeriodAt(millis)) === undefined) await grant.obtain();
      const key = grant.keyOf(keyPeriodAt(millis));
      if (key === undefined) throw new Error("no key for this key period");
      const minted = requestTokenMinter({
        audience,
        spiffeId: `spiffe://${view.follower.state.genesis?.trustDomain}${service}`,
        source: service,
        channelBinding: wishes.channelBinding ?? channelBinding,
        mode: "granted",
        certificateFingerprint: sha256(shown.certificate),
        nonces: requestTokens.nonces,
      });
      return minted(key, { method, path, contentDigest, destination }, millis);
    };
    return {
      svid,
      channelBinding,
      mint,
      ask,
      audience: audienceOf,
      [Symbol.asyncDispose]: async () => {
        const closed = socket.destroyed ? Promise.resolve() : once(socket, "close");
        client.destroy();
        await closed;
      },
    };
  }

  [Symbol.asyncDispose](): Promise<void> {
    return Promise.resolve(this.#opened[Symbol.asyncDispose]());
  }
}

function hostOf(service: string): string {
  return `${service.slice(1).split("/").reverse().join(".")}.mesh`;
}

async function askWith(
  client: http2.ClientHttp2Session,
  token: string | readonly string[] | undefined,
  { host, headers = {} }: { readonly host: string; readonly headers: http2.OutgoingHttpHeaders | undefined },
): Promise<TokenReply> {
  // A proxy may have ended the connection, and what was captured on it is of no use any more.
  if (client.destroyed || client.closed) return gone;
  const shown =
    token === undefined ? {} : { "troth-request-token": typeof token === "string" ? token : [...token] };
  const isTcp = headers[":method"] === "CONNECT" && headers[":protocol"] === undefined;
  const path = isTcp ? {} : { ":path": "/" };
  const isTunnel = headers[":method"] === "CONNECT";
  const stream = client.request(
    { ":method": "GET", ...path, ":authority": isTcp ? `${host}:80` : host, ...shown, ...headers },
    { endStream: !isTunnel },
  );
  let body = "";
  stream.setEncoding("utf8");
  stream.on("data", (chunk: string) => {
    body += chunk;
  });
  stream.on("error", () => {});
  const ended = new Promise<void>((resolve) => {
    stream.on("end", resolve);
    stream.on("close", resolve);
  });
  const responded = new Promise<http2.IncomingHttpHeaders | undefined>((resolve) => {
    stream.on("response", resolve);
    stream.on("close", () => resolve(undefined));
  });
  const received = await responded;
  if (received === undefined) return gone;
  const status = Number(received[":status"]);
  if (isTunnel && status < 300) stream.destroy();
  else await ended;
  const reason = /"reason":"([a-z-]+)"/.exec(body)?.[1] ?? "";
  return { status, reason, body, headers: received };
}

const gone: TokenReply = { status: 0, reason: "", body: "", headers: {} };
