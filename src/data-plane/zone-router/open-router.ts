import { resolvesWithin } from "../../transport/index.ts";
import { isRouterService } from "../../trust-log/index.ts";
import { describeProxy } from "../describe-sidecar.ts";
import type { ListenAddress } from "../listen.ts";
import { openCore } from "../open-core.ts";
import { inboundLimits, openInbound } from "../open-inbound.ts";
import type { ProxyOptions } from "../proxy-options.ts";
import type { SidecarCore } from "../sidecar-core.ts";
import { Destinations } from "./destinations.ts";
import { defaultRouterLimits, type RouterLimits } from "./router-limits.ts";
import { routerWork } from "./router-work.ts";

/** How long a router that ends waits to be listed no more, so that callers come to others. */
const unlistedMillisMax = 1_000;

/** What a router needs. */
export interface RouterOptions extends ProxyOptions {
  /** Where it takes callers of other zones; what they are told. */
  readonly listenOn: ListenAddress;
  readonly limits?: RouterLimits;
}

/** A running router. */
export interface Router extends AsyncDisposable {
  /** host:port where it takes callers. */
  readonly address: string;
  readonly adminAddress: string;
  /** The zone that it takes them into; empty where nobody has said where its node is. */
  readonly zone: string;
  /** Stops taking work: callers go to others, and what it carries may end, for a few seconds. */
  readonly drain: () => Promise<void>;
}

/** Opens a proxy that takes members of other zones to instances in its own, and cannot read what they say to each other. */
export async function openRouter(options: RouterOptions): Promise<Router> {
  await using opened = new AsyncDisposableStack();
  const parts: { address: string; core?: SidecarCore } = { address: "" };
  const { core, keeper } = opened.use(
    await openCore(options, {
      role: "router",
      describe: (core) => describeRouter(core, options, parts.address),
      checks: [
        { name: "declaration", missing: () => parts.core && undeclared(parts.core, options.service) },
        { name: "zone", missing: () => parts.core && homeless(parts.core) },
      ],
    }),
  );
  parts.core = core;
  const { context, router } = core;
  await core.haveRoutes();
  const limits = options.limits ?? defaultRouterLimits;
  const destinations = new Destinations(context, () => keeper.current, limits);
  const at = (address: string): ReturnType<typeof router.at> => router.at(address);
  const work = routerWork({ context, at, zone: () => router.zone, destinations }, limits);
  const inbound = opened.use(await openInbound({ context, svid: keeper.current, ...options.listenOn, work }));
  parts.address = inbound.address;
  core.onStep(() => inbound.review());
  core.onRotation((svid) => inbound.useSvid(svid));
  let isWithdrawn = false;
  const advertise = (): Promise<void> =>
    core.advertise(isWithdrawn || core.isDraining ? "" : inbound.address);
  core.onDraining(() => {
    void advertise();
    if (core.isDraining) inbound.endConnections();
  });
  await advertise();

  const running = opened.move();
  return {
    address: inbound.address,
    adminAddress: core.adminAddress,
    zone: router.zone,
    drain: async () => {
      isWithdrawn = true;
      await advertise();
      await resolvesWithin(core.untilListed(false, unlistedMillisMax), unlistedMillisMax);
      await inbound.drain();
    },
    [Symbol.asyncDispose]: () => running.disposeAsync(),
  };
}

function undeclared({ context }: SidecarCore, service: string): string | undefined {
  if (isRouterService(context.view.follower.state, service)) return undefined;
  return `the trust log does not say that ${service} is a router; its callers do not come`;
}

function homeless({ context, router }: SidecarCore): string | undefined {
  if (router.zone !== "") return undefined;
  const node = context.view.follower.state.instances.get(context.instance)?.node ?? "NODE";
  return `the node ${node} is in no zone; an operator may run: troth node zone ${node} ZONE`;
}

/** What a router goes by now. No key is in it. */
function describeRouter(core: SidecarCore, options: RouterOptions, address: string): object {
  return describeProxy(core, options, {
    kind: "RouterConfig",
    listeners: { callers: address, admin: core.adminAddress },
    limits: { inbound: inboundLimits, router: options.limits ?? defaultRouterLimits },
  });
}
