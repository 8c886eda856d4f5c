import { defaultLinkLimits, defaultPoolLimits } from "./forwarding/index.ts";
import { defaultHttp1Limits } from "./http1/index.ts";
import { defaultHttp2Limits } from "./http2/index.ts";
import { inboundLimits } from "./open-inbound.ts";
import type { ProxyOptions } from "./proxy-options.ts";
import { advertisementLimits, balancingLimits } from "./routing/index.ts";
import type { SidecarCore } from "./sidecar-core.ts";
import type { SidecarOptions } from "./sidecar-options.ts";
import { defaultTcpLimits } from "./tcp/index.ts";
import { trafficLimits } from "./traffic/index.ts";

/** Where a sidecar listens besides its admin listener; filled in as that comes about. */
export interface Listeners {
  inbound: string;
  outbound: string;
  readonly tcp: { readonly service: string; readonly address: string }[];
}

/** What a sidecar goes by now: the log, its SVID, its listeners, endpoints, rules, traffic policies and limits. No key is in it. */
export function describeSidecar(
  core: SidecarCore,
  options: SidecarOptions,
  listeners: Readonly<Listeners>,
): object {
  const application = `${options.app.host}:${options.app.port}`;
  return describeProxy(core, options, {
    kind: "SidecarConfig",
    listeners: { ...listeners, admin: core.adminAddress, application },
    own: { outboundClients: options.clients === undefined ? "any" : "own" },
    limits: { inbound: inboundLimits },
  });
}

/** What differs between the roles in what a proxy goes by. */
export interface RoleDescription {
  readonly kind: "SidecarConfig" | "GatewayConfig" | "RouterConfig" | "ExportConfig";
  readonly listeners: object;
  /** The limits of this role, by what they are for; the limits of all proxies are added. */
  readonly limits: Readonly<Record<string, object>>;
  /** What only this role has. */
  readonly own?: object;
}

/** What a proxy of any role goes by now. */
export function describeProxy(core: SidecarCore, options: ProxyOptions, role: RoleDescription): object {
  const { view, checker } = core.context;
  const { follower, stalenessSeconds } = view;
  const { genesis } = follower.state;
  return {
    apiVersion: "troth/v1",
    kind: role.kind,
    service: options.service,
    instance: options.instance,
    trustDomain: options.anchor.trustDomain,
    trustLog: {
      genesis: options.anchor.genesis,
      size: follower.size,
      stateDigest: follower.hasCaughtUp ? follower.state.digest() : null,
      epoch: { number: genesis?.epochNumber ?? 0, timeSeconds: genesis?.epochTimeSeconds ?? 0 },
      stalenessSeconds,
      freshness: {
        newHandshake: checker.freshness("newHandshake"),
        openConnection: checker.freshness("openConnection"),
      },
    },
    svid: svidOf(core, options),
    listeners: role.listeners,
    ...role.own,
    zone: core.router.zone,
    prefixes: core.own.prefixes,
    endpoints: Object.groupBy(core.router.endpoints(), ({ service }) => service),
    rules: rulesOf(core),
    trafficPolicies: Object.fromEntries(follower.state.traffic.entries()),
    http2Violations: violationsOf(core),
    tracing: options.tracing === undefined ? null : { sampling: options.tracing.sampling },
    limits: {
      ...role.limits,
      balancing: balancingLimits,
      advertisements: advertisementLimits,
      http1: defaultHttp1Limits,
      pool: defaultPoolLimits,
      http2: defaultHttp2Limits,
      link: defaultLinkLimits,
      traffic: trafficLimits,
      tcp: defaultTcpLimits,
    },
  };
}

function svidOf({ svid }: SidecarCore, { service, anchor }: ProxyOptions): object | null {
  if (svid === undefined) return null;
  const { serial, sha256, notBeforeSeconds, notAfterSeconds } = svid;
  const spiffeId = `spiffe://${anchor.trustDomain}${service}`;
  return { spiffeId, serial, sha256, notBeforeSeconds, notAfterSeconds };
}

/** How often peers broke the rules of HTTP/2, by direction and name of the violation. */
function violationsOf({ context }: SidecarCore): object {
  const { inbound, outbound } = context.metrics.http2Violations;
  return {
    inbound: Object.fromEntries(inbound.counts),
    outbound: Object.fromEntries(outbound.counts),
  };
}

/** The rules that name this service on either side, by a pattern or by itself. */
function rulesOf({ context: { view, service } }: SidecarCore): object[] {
  return [...view.follower.state.rules.entries()]
    .map(([, { from, to, effect, methods, paths }]) => ({ from, to, effect, methods, paths }))
    .filter(({ from, to }) => concerns(from, service) || concerns(to, service));
}

function concerns(pattern: string, service: string): boolean {
  return pattern.endsWith("/*") ? service.startsWith(pattern.slice(0, -1)) : pattern === service;
}
