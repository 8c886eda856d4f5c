import { generateEd25519 } from "../crypto/index.ts";
import { openAdminListener } from "../telemetry/index.ts";
import { verifierKeyOf } from "../trust-log/index.ts";
import { describeSidecar, type Listeners } from "./describe-sidecar.ts";
import { openInbound } from "./open-inbound.ts";
import { openOutbound } from "./open-outbound.ts";
import { SidecarCore } from "./sidecar-core.ts";
import type { SidecarOptions } from "./sidecar-options.ts";
import { openTcpPort, RefusedTcpLog } from "./tcp/index.ts";
import { watchApp } from "./watch-app.ts";

/** A running sidecar. */
export interface Sidecar extends AsyncDisposable {
  readonly inboundAddress: string;
  readonly outboundAddress: string;
  readonly adminAddress: string;
  /** Where the ports for services over TCP are, in the order in which they were asked for. */
  readonly tcpAddresses: readonly string[];
  /** Stops taking work: out of the routes, and every connection ends with the request it carries. Resolves when all
   * have ended, or after a few seconds. */
  readonly drain: () => Promise<void>;
}

/** Opens a sidecar: follows the log, obtains an SVID, and only then listens. */
export async function openSidecar(options: SidecarOptions): Promise<Sidecar> {
  await using opened = new AsyncDisposableStack();
  const auditKey = generateEd25519();
  const signer = { name: `${options.anchor.trustDomain}/audit/${options.instance}`, ...auditKey };
  const core = opened.use(await SidecarCore.open(options, signer));
  const { context } = core;
  const listeners: Listeners = { inbound: "", outbound: "", tcp: [] };
  // Open while the rest comes up, so that somebody can see what it waits for.
  const admin = opened.use(
    await openAdminListener({
      listen: options.admin ?? { host: "127.0.0.1", port: 0 },
      checks: core.checks(),
      metrics: context.metrics.page,
      documents: { "/config": () => describeSidecar(core, options, listeners) },
      log: options.log,
    }),
  );
  core.adminAddress = admin.address;
  await core.haveCaughtUp();

  const keeper = opened.use(await core.obtainSvid(verifierKeyOf(signer)));
  const inbound = opened.use(
    await openInbound({ context, svid: keeper.current, ...options.inbound, app: options.app }),
  );
  core.onStep(() => inbound.review());
  core.onRotation((svid) => inbound.useSvid(svid));
  await core.haveRoutes();
  const outbound = opened.use(
    await openOutbound({ context, router: core.router, listenOn: options.outbound }),
  );
  const refusedTcp = opened.use(new RefusedTcpLog(options.log, context.timer));
  for (const listener of options.tcp ?? []) {
    const port = opened.use(
      await openTcpPort(listener, { context, router: core.router, refused: refusedTcp }),
    );
    listeners.tcp.push({ service: listener.service, address: port.address });
  }
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
    adminAddress: admin.address,
    tcpAddresses: listeners.tcp.map(({ address }) => address),
    drain: async () => {
      app[Symbol.dispose]();
      isAppUp = false;
      await core.advertise("");
      await inbound.drain();
    },
    [Symbol.asyncDispose]: () => running.disposeAsync(),
  };
}
