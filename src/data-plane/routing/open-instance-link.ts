import type { TLSSocket } from "node:tls";
import { messageOf } from "../../base/mesh-error.ts";
import { fail, ok, type Result } from "../../base/result.ts";
import type { Endpoint } from "../../protocol/index.ts";
import type { SvidInUse } from "../../transport/index.ts";
import type { CheckedPeer, PeerRefusal } from "../check-peer.ts";
import {
  ConnectionPool,
  defaultLinkLimits,
  defaultPoolLimits,
  InstanceLink,
  type LinkLimits,
} from "../forwarding/index.ts";
import { instanceHttp2Limits } from "../http2/index.ts";
import { InstanceTokens } from "../instance-tokens.ts";
import type { ProxyContext } from "../proxy-context.ts";
import { type Dial, type DialRefusal, dialOver, dialPeer } from "./dial-peer.ts";
import type { Passage } from "./zone-routers.ts";

const instanceLinkLimits = { ...defaultLinkLimits, http2: instanceHttp2Limits };
/** Over how long the connections to a peer whose certificate ends are replaced. */
const renewalMillisMax = 10_000;

/** An instance to be reached, and by whom. */
export interface InstanceToReach {
  readonly context: ProxyContext;
  /** What is shown to it. */
  readonly svid: () => SvidInUse;
  readonly endpoint: Endpoint;
  /** The way to it where it is not to be dialled, as of now. */
  readonly passage: () => Passage | undefined;
  /** Hears of every attempt that did not lead to the instance. */
  readonly onUnreachable: () => void;
  /** Hears through which router the newest connection goes; undefined where through none. */
  readonly onReached: (router: InstanceLink | undefined) => void;
  /** Hears that a connection takes no more, for whoever lies on what is on it. */
  readonly onEnding: () => void;
  readonly limits?: LinkLimits;
}

/** With the request tokens that it may want; of another trust domain none can be had. */
interface TokenedInstance extends InstanceToReach {
  readonly tokens: InstanceTokens | undefined;
}

/** Opens the way to an instance, over connections whose other end is checked: of HTTP/2, or, where it chooses so, of HTTP/1.1. */
export function openInstanceLink(instance: InstanceToReach): InstanceLink {
  const { context, endpoint, onEnding, limits = instanceLinkLimits } = instance;
  const isOwn = endpoint.service.startsWith("/");
  const tokens = isOwn ? new InstanceTokens(context, endpoint) : undefined;
  const to = { ...instance, tokens };
  const { timer, log, violations } = context;
  const expiring = (secondsLeft: number): void =>
    link.renew(Math.min(renewalMillisMax, (secondsLeft * 1000) / 4));
  const onlyHttp1 = ["http/1.1"] as const;
  const pool = new ConnectionPool(
    (onread, signal) => connect(to, { onread, signal, offered: onlyHttp1 }, expiring),
    defaultPoolLimits,
    timer,
  );
  const peer = `${endpoint.service} ${endpoint.instance}`;
  const link = new InstanceLink({
    open: async (signal) => {
      const connected = await connect(to, { signal }, expiring);
      if (!connected.ok) return connected;
      const socket = connected.value;
      return ok({ socket, isHttp2: socket.alpnProtocol === "h2" });
    },
    pool,
    timer,
    limits,
    tokens,
    observer: {
      onOpened: () => violations.of("outbound", peer),
      onFault: (fault) => log.error("fault while forwarding", { error: messageOf(fault) }),
      onEnding,
    },
  });
  return link;
}

type Expiring = (secondsLeft: number) => void;

async function connect(
  to: TokenedInstance,
  how: Dial,
  expiring: Expiring,
): Promise<Result<TLSSocket, string>> {
  const { endpoint, onUnreachable, onReached } = to;
  const passage = to.passage();
  const carried = passage === undefined ? undefined : await connectThrough(passage, to, { how, expiring });
  if (carried?.ok === false && carried.reason === "router-refused") onUnreachable();
  if (carried !== undefined && (carried.ok || carried.reason === "router-refused")) return carried;
  // None of the routers is of any use. They are a way, and not a boundary: the instance may be reached without.
  const svid = to.svid();
  const dialed = await dialPeer(endpoint.address, svid, how);
  const connected = await admit(to, { dialed, svid, expiring });
  if (connected.ok) onReached(undefined);
  else onUnreachable();
  if (connected.ok || carried === undefined) return connected;
  return fail(connected.reason, `${connected.detail}; through its zone's routers ${carried.detail}`);
}

/** The first connection to come about through one router after the other, or why there is none. */
async function connectThrough(
  passage: Passage,
  to: TokenedInstance,
  { how, expiring }: { readonly how: Dial; readonly expiring: Expiring },
): Promise<Result<TLSSocket, string>> {
  const tried: InstanceLink[] = [];
  let refusal = fail<string>("router-unreachable", "none could be asked");
  for (
    let next = passage.open(tried, how.signal);
    next !== undefined;
    next = passage.open(tried, how.signal)
  ) {
    const opened = await next;
    if (how.signal.aborted) break;
    if (!opened.ok) {
      if (refusal.reason !== "router-refused") refusal = opened;
      continue;
    }
    const { stream, router } = opened.value;
    const svid = to.svid();
    const connected = await admit(to, { dialed: await dialOver(stream, svid, how), svid, expiring });
    if (connected.ok) {
      to.onReached(router);
      return connected;
    }
    passage.avoid(router);
    if (refusal.reason !== "router-refused") refusal = connected;
  }
  return refusal;
}

/** A connection whose other end has not been judged. */
interface Admitted {
  readonly dialed: Result<TLSSocket, DialRefusal>;
  /** What was shown to it. */
  readonly svid: SvidInUse;
  readonly expiring: Expiring;
}

/** Judges the other end of a connection, and watches it from then on. */
async function admit(
  { context, endpoint, tokens }: TokenedInstance,
  { dialed, svid, expiring }: Admitted,
): Promise<Result<TLSSocket, string>> {
  if (!dialed.ok) return dialed;
  const socket = dialed.value;
  const checked = await checkEndpoint(context, socket, endpoint);
  if (!checked.ok) {
    socket.destroy();
    const { reason, detail } = checked;
    context.refused.note({ direction: "outbound", reason, detail, peer: endpoint.address });
    return checked;
  }
  const { livePeers, clock } = context;
  const isLive = livePeers.add(socket, {
    peer: checked.value,
    nowSeconds: clock.nowSeconds(),
    expiring,
    isReplaceable: true,
  });
  if (!isLive) return fail("connect-failed", "the peer has gone");
  tokens?.opened(socket, svid);
  await tokens?.prepare(socket);
  return ok(socket);
}

/** Whether a peer is not only somebody but the very instance that was to be reached. */
export async function checkEndpoint(
  { checker }: Pick<ProxyContext, "checker">,
  socket: TLSSocket,
  endpoint: Endpoint,
): Promise<Result<CheckedPeer, PeerRefusal>> {
  const checked = await checker.check(socket);
  if (!checked.ok) return checked;
  const { service, instance, svid } = checked.value;
  return service === endpoint.service && instance === endpoint.instance
    ? checked
    : fail("other-instance", `${svid.spiffeId} ${instance} instead of ${endpoint.service}`);
}
