import { describeSidecar } from "./describe-sidecar.ts";
import { openCore } from "./open-core.ts";
import { openInbound } from "./open-inbound.ts";
import { openOutbound } from "./open-outbound.ts";
import type { SidecarCore } from "./sidecar-core.ts";
import type { SidecarOptions } from "./sidecar-options.ts";
import { watchApp } from "./watch-app.ts";

/** A running sidecar. */
export interface Sidecar extends AsyncDisposable {
  readonly inboundAddress: string;
  readonly outboundAddress: string;
  readonly adminAddress: string;
  /** Stops taking work: out of the routes, and every connection ends with the request it carries. Resolves when all
   * have ended, or after a few seconds. */
  readonly drain: () => Promise<void>;
}

/** Opens a sidecar: follows the log, obtains an SVID, and only then listens. */
export async function openSidecar(options: SidecarOptions): Promise<Sidecar> {
  await using opened = new AsyncDisposableStack();
  const listeners = { inbound: "", outbound: "" };
  const describe = (core: SidecarCore): object => describeSidecar(core, options, listeners);
  const { core, keeper } = opened.use(await openCore(options, { role: "sidecar", describe }));
  const { context } = core;
  const inbound = opened.use(
    await openInbound({ context, svid: keeper.current, ...options.inbound, app: options.app }),
  );
  core.onRotation((svid) => inbound.useSvid(svid));
  await core.haveRoutes();
  const outbound = opened.use(
    await openOutbound({ context, router: core.router, listenOn: options.outbound }),
  );
  listeners.inbound = inbound.address;
  listeners.outbound = outbound.address;
  core.outboundAddress = outbound.address;
  let isAppUp = false;
  const advertise = (): void => void core.advertise(isAppUp && !core.isDraining ? inbound.address : "");
  const app = opened.use(
    watchApp(options.app, options.log, (isUp) => {
      isAppUp = isUp;
      advertise();
    }),
  );
  core.onDraining(() => {
    advertise();
    if (core.isDraining) inbound.endConnections();
  });
  await core.report();

  const running = opened.move();
  return {
    inboundAddress: inbound.address,
    outboundAddress: outbound.address,
    adminAddress: core.adminAddress,
    drain: async () => {
      app[Symbol.dispose]();
      isAppUp = false;
      await core.advertise("");
      await inbound.drain();
    },
    [Symbol.asyncDispose]: () => running.disposeAsync(),
  };
}
