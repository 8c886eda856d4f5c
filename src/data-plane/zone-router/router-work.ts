import { hostAndPort } from "../../base/host-and-port.ts";
import type { CompletedRequest, RequestObserver, Upstream } from "../forwarding/index.ts";
import type { InboundWork } from "../open-inbound.ts";
import type { ProxyContext } from "../proxy-context.ts";
import type { ConnectionGate } from "../request-token-gate.ts";
import { carrierHttp2Limits } from "../routing/index.ts";
import { defaultTcpLimits, TcpExchange, TcpShares } from "../tcp/index.ts";
import type { RouterLimits } from "./router-limits.ts";
import { TunnelDecider, type TunnelRules } from "./tunnel-decider.ts";

/** What a router does for its peers: carries their own connections to instances in its zone. */
export function routerWork(rules: Omit<TunnelRules, "carry">, limits: RouterLimits): InboundWork {
  const { context } = rules;
  const carry = carrierOf(context, limits);
  return {
    tunnels: ["connect"],
    http2Limits: carrierHttp2Limits,
    workFor: (peer, as) => {
      const decider = new TunnelDecider({ ...rules, carry }, peer, as);
      return { observe: () => observe(context, decider, as.gate), review: () => decider.review() };
    },
    reviewedBy: () => {
      const { rules: allowed, instances, zones, prefixes } = context.view.follower.state;
      const isStale = context.checker.freshness("openConnection") === "stale";
      return `${allowed.digest()} ${instances.digest()} ${zones.digest()} ${prefixes.digest()} ${isStale}`;
    },
    close: () => {},
  };
}

function carrierOf({ metrics }: ProxyContext, limits: RouterLimits): TunnelRules["carry"] {
  const counts = metrics.tcp.inbound;
  const shares = new TcpShares({
    connectionsMax: limits.tunnelsMax,
    connectionsPerInstanceMax: limits.tunnelsPerInstanceMax,
  });
  const { tunnelIdleMillis } = limits;
  return (address, instance): Upstream => {
    const dial = {
      ...hostAndPort(address),
      counts,
      limits: defaultTcpLimits,
      whenFull: "the router carries as many tunnels as it may",
      open: (): boolean => {
        const isRoom = shares.add(instance);
        counts.open = shares.size;
        return isRoom;
      },
      close: (): void => {
        shares.remove(instance);
        counts.open = shares.size;
      },
    };
    return {
      begin: (request) =>
        new TcpExchange({ ...request, limits: { ...request.limits, tunnelIdleMillis } }, dial),
    };
  };
}

function observe({ metrics }: ProxyContext, decider: TunnelDecider, gate: ConnectionGate): RequestObserver {
  let isDenied = false;
  return {
    decide: async (request) => {
      // Which tunnels are allowed depends on who is at their end, so that is no answer to what has no token.
      const refused = await gate.check(request, () => true);
      const verdict = await (refused === undefined ? decider.decide(request) : refused.verdict);
      isDenied = verdict.kind === "answer";
      return verdict;
    },
    onComplete: ({ error }: CompletedRequest) => {
      if (!isDenied) metrics.totals.forwarded += 1;
      metrics.tcpConnections.inbound.add(error ?? (isDenied ? "denied" : "ok"));
    },
  };
}
