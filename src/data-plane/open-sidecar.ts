import { MeshError } from "../base/mesh-error.ts";
import { resolvesWithin } from "../transport/index.ts";
import { appWork } from "./app-work.ts";
import { describeSidecar, type Listeners } from "./describe-sidecar.ts";
import { openCore } from "./open-core.ts";
import { type Inbound, openInbound } from "./open-inbound.ts";
import { openOutbound } from "./open-outbound.ts";
import { OwnClients } from "./own-clients.ts";
import { AppReport } from "./resource-report.ts";
import type { SidecarCore } from "./sidecar-core.ts";
import type { SidecarOptions } from "./sidecar-options.ts";
import { openTcpPort, RefusedTcpLog, type TcpPort } from "./tcp/index.ts";
import { watchApp } from "./watch-app.ts";

/** How long a sidecar that takes another's place waits for its application's first answer; it was there for the other. */
const appMillisMax = 2_000;
/** How long it waits to be listed among those that serve. */
const listedMillisMax = 10_000;

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
  /**
   * Leaves its place to another sidecar on the same outbound port: takes no new connection of the application, has it
   * leave those that there are, is withdrawn, and serves what is open. Resolves when all has ended, or the time is up.
   */
  readonly retire: (waitMillisMax: number) => Promise<void>;
}

/** Opens a sidecar: follows the log, obtains an SVID, and only then listens. */
export async function openSidecar(options: SidecarOptions): Promise<Sidecar> {
  await using opened = new AsyncDisposableStack();
  const listeners: Listeners = { inbound: "", outbound: "", tcp: [] };
  const describe = (core: SidecarCore): object => describeSidecar(core, options, listeners);
  const { core, keeper } = opened.use(await openCore(options, { role: "sidecar", describe }));
  const { context } = core;
  const inbound = opened.use(
    await openInbound({
      context,
      svid: keeper.current,
      ...options.inbound,
      work: appWork(context, options.app),
    }),
  );
  listeners.inbound = inbound.address;
  core.onStep(() => inbound.review());
  core.onRotation((svid) => inbound.useSvid(svid));
  await core.haveRoutes();
  const service = opened.use(announce(core, options, inbound));
  if (options.replaces === true) await service.isKnown();
  const clients = options.clients === undefined ? undefined : new OwnClients(options.clients, context);
  const { router } = core;
  const outbound = opened.use(await openOutbound({ context, router, listenOn: options.outbound, clients }));
  const refusedTcp = opened.use(new RefusedTcpLog(options.log, context.timer));
  const tcpPorts: TcpPort[] = [];
  for (const listener of options.tcp ?? []) {
    const port = opened.use(await openTcpPort(listener, { context, router, refused: refusedTcp, clients }));
    tcpPorts.push(port);
    listeners.tcp.push({ service: listener.service, address: port.address });
  }
  listeners.outbound = outbound.address;
  core.outboundAddress = outbound.address;
  await core.report();

  const running = opened.move();
  return {
    inboundAddress: inbound.address,
    outboundAddress: outbound.address,
    adminAddress: core.adminAddress,
    tcpAddresses: listeners.tcp.map(({ address }) => address),
    drain: async () => {
      await service.withdraw();
      await inbound.drain();
    },
    retire: async (waitMillisMax) => {
      core.retire();
      const left = [outbound.retire(), ...tcpPorts.map((port) => port.retire())];
      const ended = service.withdraw().then(async () => {
        // Whoever has not heard of it yet still comes, and must be served.
        await core.untilListed(false, waitMillisMax);
        await inbound.drain(waitMillisMax);
      });
      await resolvesWithin(Promise.all([...left, ended]), waitMillisMax);
    },
    [Symbol.asyncDispose]: () => running.disposeAsync(),
  };
}

/** What the mesh is told of this instance: where it serves, while its application answers and nobody has said that it drains. */
interface Announcement extends Disposable {
  /** Waits until callers know of it, where its application is there; throws where they are not told in time. */
  isKnown(): Promise<void>;
  /** Tells them that it serves no longer, for good. */
  withdraw(): Promise<void>;
}

function announce(core: SidecarCore, options: SidecarOptions, inbound: Inbound): Announcement {
  let isAppUp = false;
  let isWithdrawn = false;
  const answered = Promise.withResolvers<void>();
  const advertise = (): Promise<void> =>
    core.advertise(isAppUp && !isWithdrawn && !core.isDraining ? inbound.address : "");
  const report = new AppReport(core.context.usage, options.clients);
  core.app = report;
  const { log, health: check } = options;
  const app = watchApp(options.app, { log, check }, (isUp, reason) => {
    isAppUp = isUp;
    report.health = { isHealthy: isUp, reason };
    if (!isUp) log.warn("the application is not healthy; callers are told to go elsewhere", { reason });
    if (isUp) answered.resolve();
    void advertise();
  });
  core.onDraining(() => {
    void advertise();
    if (core.isDraining) inbound.endConnections();
  });
  return {
    isKnown: async () => {
      const isThere = await resolvesWithin(answered.promise, appMillisMax);
      if (!isThere || (await core.untilListed(true, listedMillisMax))) return;
      throw new MeshError(
        "ERR_DATA_PLANE_UNLISTED",
        `the mesh does not list this instance after ${listedMillisMax / 1000} s; does the control plane answer?`,
      );
    },
    withdraw: async () => {
      isWithdrawn = true;
      app[Symbol.dispose]();
      await advertise();
    },
    [Symbol.dispose]: () => app[Symbol.dispose](),
  };
}
