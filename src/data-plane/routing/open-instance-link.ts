import type { TLSSocket } from "node:tls";
import { messageOf } from "../../base/mesh-error.ts";
import { fail, ok, type Result } from "../../base/result.ts";
import type { Endpoint } from "../../protocol/index.ts";
import type { SvidInUse } from "../../transport/index.ts";
import type { CheckedPeer, PeerRefusal } from "../check-peer.ts";
import { ConnectionPool, defaultLinkLimits, defaultPoolLimits, InstanceLink } from "../forwarding/index.ts";
import type { ProxyContext } from "../proxy-context.ts";
import { type Dial, dialPeer } from "./dial-peer.ts";

/** An instance to be reached, and by whom. */
interface InstanceToReach {
  readonly context: ProxyContext;
  /** What is shown to it. */
  readonly svid: () => SvidInUse;
  readonly endpoint: Endpoint;
  /** Hears of every attempt that did not lead to the instance. */
  readonly onUnreachable: () => void;
}

/** Opens the way to an instance, over connections whose other end is checked: of HTTP/2, or, where it chooses so, of HTTP/1.1. */
export function openInstanceLink(to: InstanceToReach): InstanceLink {
  const { context, endpoint } = to;
  const { timer, log, violations } = context;
  const expiring = (secondsLeft: number): void => link.renew((secondsLeft * 1000) / 4);
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
    limits: defaultLinkLimits,
    observer: {
      onOpened: () => violations.of("outbound", peer),
      onFault: (fault) => log.error("fault while forwarding", { error: messageOf(fault) }),
    },
  });
  return link;
}

async function connect(
  to: InstanceToReach,
  how: Dial,
  expiring: (secondsLeft: number) => void,
): Promise<Result<TLSSocket, string>> {
  const { context, svid, endpoint, onUnreachable } = to;
  const dialed = await dialPeer(endpoint.address, svid(), how);
  if (!dialed.ok) {
    onUnreachable();
    return dialed;
  }
  const socket = dialed.value;
  const checked = await checkEndpoint(context, socket, endpoint);
  if (!checked.ok) {
    socket.destroy();
    onUnreachable();
    const { reason, detail } = checked;
    context.refused.note({ direction: "outbound", reason, detail, peer: endpoint.address });
    return checked;
  }
  const { livePeers, clock } = context;
  const isLive = livePeers.add(socket, { peer: checked.value, nowSeconds: clock.nowSeconds(), expiring });
  return isLive ? ok(socket) : fail("connect-failed", "the peer has gone");
}

/** Whether a peer is not only somebody but the very instance that was to be reached. */
async function checkEndpoint(
  { checker }: ProxyContext,
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
