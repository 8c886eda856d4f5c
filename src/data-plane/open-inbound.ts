import type { TLSSocket } from "node:tls";
import { codeOf, messageOf } from "../base/mesh-error.ts";
import { HalfOpen, type SvidInUse } from "../transport/index.ts";
import type { CheckedPeer } from "./check-peer.ts";
import {
  type ProblemAudience,
  type RequestObserver,
  type Review,
  serveHttp1,
  serveHttp2,
  type TunnelOptions,
} from "./forwarding/index.ts";
import { type Http2Limits, memberHttp2Limits } from "./http2/index.ts";
import { listen } from "./listen.ts";
import { meshTlsServer, useSvid } from "./mesh-tls.ts";
import { decidedPathCharactersMax, decisionsPerConnectionMax } from "./peer-decider.ts";
import type { ProxyContext } from "./proxy-context.ts";
import type { RefusedConnection } from "./refused-connections.ts";
import type { ConnectionGate } from "./request-token-gate.ts";
import type { HttpVersion } from "./request-trace.ts";

const connectionsMax = 10_000;
/** Of one source, in their handshake; many, since all proxies of a machine are one source and may come at once. */
const halfOpenPerSourceMax = 2_048;
/** Connections with one instance, in both directions; a peer that may call nothing must not use up the others' share. */
const connectionsPerInstanceMax = 768;
/**
 * How long draining leaves connections open that carry no request: callers that hear of it close them by themselves,
 * and none of their requests meets a connection that ends just then.
 */
const drainNoticeMillisMax = 1_000;
/**
 * Connections of HTTP/2 from one instance, each of which may make us hold up to 16 MiB. It needs two, and more where
 * long streams stay on those that were replaced: twice in half of a certificate's life.
 */
const linksPerInstanceMax = 24;
/** As much, for all instances of a workload of another trust domain, which cannot be told apart. */
const linksPerForeignWorkloadMax = 128;
/** How long draining waits for requests in flight, unless it is told otherwise. */
const drainMillisMax = 5_000;

/** Room for what a proxy adds to a head that was as large as an application may send. */
const headLimits = { headBytesMax: 24 * 1024, headersMax: 120 };

/** The limits of this file, for whoever wants to see them. */
export const inboundLimits: Readonly<Record<string, number>> = {
  connectionsMax,
  connectionsPerInstanceMax,
  halfOpenPerSourceMax,
  drainNoticeMillisMax,
  linksPerInstanceMax,
  linksPerForeignWorkloadMax,
  drainMillisMax,
  decisionsPerConnectionMax,
  decidedPathCharactersMax,
};

/** The side of a proxy that other proxies call. */
export interface Inbound extends AsyncDisposable {
  /** host:port. */
  readonly address: string;
  readonly useSvid: (svid: SvidInUse) => void;
  /**
   * For when callers are being told to go elsewhere: gives them a moment to leave, then takes no new connections and
   * ends those that are idle; the others end with their request, which it waits for as long as it is told.
   */
  readonly drain: (waitMillisMax?: number) => Promise<void>;
  /** Ends the connections there are with the request that each carries; new ones are taken. */
  readonly endConnections: () => void;
  /** Ends requests in progress that the rules of now do not allow; for after a step of the trust log. */
  readonly review: () => void;
}

/** What the inbound side needs besides what both sides share. */
export interface InboundOptions {
  readonly context: ProxyContext;
  readonly svid: SvidInUse;
  readonly host: string;
  readonly port: number;
  readonly work: InboundWork;
}

/** What is done for the peers that have been let in; closed with the inbound side. */
export interface InboundWork {
  /** Which tunnels they may ask for. */
  readonly tunnels: TunnelOptions["kinds"];
  /** Of each member's connection of HTTP/2; those of one between proxies unless given. */
  readonly http2Limits?: Http2Limits;
  readonly workFor: (peer: CheckedPeer, as: ServedAs) => PeerWork;
  /** What requests in progress are decided on by, in one text that changes when it does. */
  readonly reviewedBy: () => string;
  readonly close: () => void;
}

/** How a peer is served. */
export interface ServedAs {
  readonly version: HttpVersion;
  readonly audience: ProblemAudience;
  /** What checks the request tokens of its connection. */
  readonly gate: ConnectionGate;
}

/** What is done for one peer. */
export interface PeerWork {
  /** What decides on one request and hears what became of it; over HTTP/1.1 on all, one after the other. */
  readonly observe: () => RequestObserver;
  /** Decides on requests in progress again. */
  readonly review: () => Review;
}

/** A peer's connection that is being served, whatever is spoken on it. */
interface ServedPeer {
  /** Finishes the requests in progress, then closes. */
  close(): void;
  /** Decides on the requests in progress again. */
  review(): void;
}

/** Opens the mesh listener of a proxy: mutual TLS in, verdict, and then the work that it is there for. */
export async function openInbound(options: InboundOptions): Promise<Inbound> {
  const { context, work } = options;
  const server = meshTlsServer(options.svid);
  const served = new Map<TLSSocket, ServedPeer | undefined>();
  const links = new Map<string, number>();
  let isDraining = false;
  /** What requests in progress were decided on by. */
  let reviewed = work.reviewedBy();
  let emptied = (): void => {};

  server.maxConnections = connectionsMax;
  const halfOpen = new HalfOpen(halfOpenPerSourceMax);
  server.on("connection", (socket) => halfOpen.add(socket));
  server.on("tlsClientError", (error, socket) => {
    refuse(context, socket, { reason: "handshake-failed", detail: codeOf(error) ?? "" });
  });
  server.on("secureConnection", (socket) => {
    halfOpen.settle(socket);
    served.set(socket, undefined);
    socket.once("close", () => {
      served.delete(socket);
      if (served.size === 0) emptied();
    });
    socket.on("error", () => socket.destroy());
    // A proxy that does not replace its connections by itself is told to, while it has time to. Over HTTP/1.1 it could
    // not be told without losing the request that it sends just then.
    const expiring = (): void => {
      if (socket.alpnProtocol === "h2") served.get(socket)?.close();
    };
    void admit(context, socket, expiring).then((peer) => {
      if (peer === undefined || !countLink(context, { socket, peer, links })) return;
      const connection = servePeer(context, socket, { peer, work });
      served.set(socket, connection);
      if (isDraining) connection.close();
    });
  });
  const address = await listen(server, options, context.log);
  return {
    address,
    useSvid: (svid) => useSvid(server, svid),
    endConnections: () => {
      for (const connection of served.values()) connection?.close();
    },
    review: () => {
      const now = work.reviewedBy();
      if (now === reviewed) return;
      reviewed = now;
      for (const connection of served.values()) connection?.review();
    },
    drain: async (waitMillisMax = drainMillisMax) => {
      await new Promise<void>((resolve) => {
        if (served.size === 0) return resolve();
        const timer = setTimeout(resolve, drainNoticeMillisMax);
        emptied = () => {
          clearTimeout(timer);
          resolve();
        };
      });
      isDraining = true;
      await new Promise<void>((resolve) => {
        const timer = setTimeout(resolve, waitMillisMax);
        server.close(() => {
          clearTimeout(timer);
          resolve();
        });
        for (const connection of served.values()) connection?.close();
      });
    },
    [Symbol.asyncDispose]: async () => {
      const closed = new Promise<void>((resolve) => server.close(() => resolve()));
      for (const socket of served.keys()) socket.destroy();
      work.close();
      await closed;
    },
  };
}

/** Nothing is read from the socket before the verdict: no listener for its data is there yet. */
async function admit(
  context: ProxyContext,
  socket: TLSSocket,
  expiring: () => void,
): Promise<CheckedPeer | undefined> {
  const { checker, livePeers, clock } = context;
  const checked = await checker.check(socket);
  if (!checked.ok) return refuse(context, socket, checked);
  const peer = checked.value;
  if (livePeers.countOf(peer.instance) >= connectionsPerInstanceMax)
    return refuse(context, socket, { reason: "too-many-connections", detail: peer.svid.spiffeId });
  return livePeers.add(socket, { peer, nowSeconds: clock.nowSeconds(), expiring }) ? peer : undefined;
}

/** Whether a peer may have this connection besides its others, if it speaks HTTP/2 on it. */
function countLink(
  context: ProxyContext,
  { socket, peer, links }: { socket: TLSSocket; peer: CheckedPeer; links: Map<string, number> },
): boolean {
  const { instance, svid } = peer;
  if (socket.alpnProtocol !== "h2") return true;
  const before = links.get(instance) ?? 0;
  if (before >= (isMemberOf(context, peer) ? linksPerInstanceMax : linksPerForeignWorkloadMax)) {
    refuse(context, socket, { reason: "too-many-connections", detail: svid.spiffeId });
    return false;
  }
  links.set(instance, before + 1);
  socket.once("close", () => {
    const left = (links.get(instance) ?? 1) - 1;
    if (left > 0) links.set(instance, left);
    else links.delete(instance);
  });
  return true;
}

function refuse(
  context: ProxyContext,
  socket: TLSSocket,
  { reason, detail }: Pick<RefusedConnection, "reason" | "detail">,
): undefined {
  context.refused.note({ direction: "inbound", reason, detail, peer: socket.remoteAddress ?? "" });
  socket.destroy();
}

function isMemberOf({ view }: ProxyContext, { svid }: CheckedPeer): boolean {
  return svid.trustDomain === view.follower.state.genesis?.trustDomain;
}

/** Serves what the two sides have agreed to speak; what did not choose HTTP/2 speaks HTTP/1.1. */
function servePeer(
  context: ProxyContext,
  socket: TLSSocket,
  { peer, work }: { readonly peer: CheckedPeer; readonly work: InboundWork },
): ServedPeer {
  const { svid } = peer;
  const { timer, log } = context;
  const isMember = isMemberOf(context, peer);
  const audience = isMember ? "member" : "stranger";
  const version = socket.alpnProtocol === "h2" ? "2" : "1";
  const gate = context.gate.for(socket, peer, audience);
  const { observe, review } = work.workFor(peer, { version, audience, gate });
  const onFault = (fault: unknown): void => log.error("fault while serving", { error: messageOf(fault) });
  const onViolation = context.violations.of("inbound", svid.spiffeId);
  const tunnels = { kinds: work.tunnels, randomBytes: context.randomBytes };
  const one = observe();
  const connection =
    version === "2"
      ? serveHttp2(socket, {
          observe,
          timer,
          tunnels,
          headLimits,
          ...(isMember ? { http2Limits: work.http2Limits ?? memberHttp2Limits } : {}),
          audience,
          isClientProxy: isMember,
          exhausted: context.exhausted,
          onFault,
          onViolation,
        })
      : serveHttp1(socket, {
          decide: (request) => one.decide(request),
          timer,
          tunnels: { ...tunnels, kinds: work.tunnels.filter((kind) => kind === "websocket") },
          audience,
          onComplete: (event) => one.onComplete(event),
          onFault,
        });
  return { close: () => connection.close(), review: () => connection.review(review()) };
}
