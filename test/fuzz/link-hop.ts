import { randomBytes } from "node:crypto";
import { once } from "node:events";
import { connect, createServer, type Socket } from "node:net";
import { setImmediate as nextTurn } from "node:timers/promises";
import { ok, type Result } from "../../src/base/result.ts";
import { type AppProtocol, AppUpstream } from "../../src/data-plane/app-upstream.ts";
import { CoarseTimer } from "../../src/data-plane/coarse-timer.ts";
import {
  type Attempts,
  type CompletedRequest,
  ConnectionPool,
  defaultLinkLimits,
  defaultPoolLimits,
  type ExhaustedRetries,
  Http2Exchange,
  InstanceLink,
  type LinkChoice,
  type LinkLimits,
  type OpenConnection,
  type OpenedLink,
  type OutcomeObserver,
  openTcp,
  type PoolLimits,
  type RequestHead,
  type RequestObserver,
  serveHttp1,
  serveHttp2,
  type Upstream,
  type Verdict,
} from "../../src/data-plane/forwarding/index.ts";
import {
  defaultHttp1Limits,
  type Http1Limits,
  headerLines,
  type Tunnel,
} from "../../src/data-plane/http1/index.ts";
import { fakeClock } from "../fakes/fake-clock.ts";
import { silentLog } from "../fakes/silent-log.ts";
import { closed, listen, poisoned } from "./http1-hop.ts";

/** Two proxies with HTTP/2 between them, whose time stands still until it is moved. */
export interface LinkHop extends AsyncDisposable {
  readonly port: number;
  /** Where the inner proxy takes HTTP/2. */
  readonly linkPort: number;
  readonly link: InstanceLink;
  /** The link to the second instance, where there is one. */
  readonly otherLink: InstanceLink;
  /** Connections of the inner proxy to the application. */
  readonly toApp: ConnectionPool;
  /** Instances that the outer proxy was asked to leave alone for a moment. */
  readonly avoided: InstanceLink[];
  /** What the outer and the inner proxy say of requests that are over. */
  readonly outer: CompletedRequest[];
  readonly inner: CompletedRequest[];
  readonly faults: unknown[];
  /** What the outer proxy's clients and peers, and the inner one's, did against the rules of HTTP/2. */
  readonly violations: string[];
  /** Sockets of the clients as the outer proxy sees them. */
  readonly clientSockets: Socket[];
  /** Connections between the proxies, as the outer one sees them. */
  readonly linkSockets: Socket[];
  /** Lets the inner proxy end all connections with the requests that they carry. */
  endLinks(): void;
  passSeconds(seconds: number): void;
  /** Waits until nothing is under way between the proxies, so that time may pass without a question left unanswered. */
  settle(): Promise<void>;
}

/** What a test changes about the two proxies. */
export interface LinkHopOptions {
  /** Who hears how requests go at the instances. */
  readonly outcomes?: OutcomeObserver;
  readonly decide?: (request: RequestHead, forward: Verdict) => Verdict | Promise<Verdict>;
  readonly open?: (port: number) => Promise<Result<OpenedLink, string>>;
  /** Serves a connection between the proxies in place of the inner one. */
  readonly serve?: (socket: Socket) => void;
  readonly linkLimits?: Partial<LinkLimits>;
  readonly limits?: Partial<Http1Limits>;
  /** Of the connections to peers that speak HTTP/1.1. */
  readonly poolLimits?: Partial<PoolLimits>;
  /** Where a second instance takes HTTP/2; a request goes there where the first has not passed it on. */
  readonly otherPort?: number;
  /** Whether the inner proxy takes the outer one for a proxy, as it is unless said otherwise. */
  readonly isClientProxy?: boolean;
  /** What tunnels both proxies take. */
  readonly tunnels?: readonly Tunnel[];
  /** Whether clients may speak HTTP/2 to the outer proxy. */
  readonly takesHttp2?: boolean;
  /** How the inner proxy reaches the application. */
  readonly openApp?: OpenConnection;
  /** What the application speaks, where not only HTTP/1.1. */
  readonly app?: AppProtocol;
  /** What the attempts at a request have in common, where a policy repeats it. */
  readonly attemptsWith?: (first: InstanceLink) => Attempts;
  /** Which requests the inner proxy marks as repeated in vain. */
  readonly exhausted?: ExhaustedRetries;
  /** What takes the requests of the inner proxy, unless connections of HTTP/1.1 to the port do. */
  readonly toUpstream?: Upstream;
}

/** Opens two proxies that forward everything to a port, unless `decide` of the inner one says otherwise. */
export async function openLinkHop(upstreamPort: number, options: LinkHopOptions = {}): Promise<LinkHop> {
  const clock = fakeClock();
  const timer = new CoarseTimer(clock);
  const outer: CompletedRequest[] = [];
  const inner: CompletedRequest[] = [];
  const faults: unknown[] = [];
  const sockets = new Set<Socket>();
  const linkSockets: Socket[] = [];
  const served: { close(): void }[] = [];
  const onFault = (fault: unknown): number => faults.push(fault);

  const limits = { ...defaultHttp1Limits, ...options.limits };
  const tunnels = { kinds: options.tunnels ?? [], randomBytes: (bytes: number) => randomBytes(bytes) };
  const openApp = options.openApp ?? openTcp({ host: "127.0.0.1", port: upstreamPort });
  const toApp = new ConnectionPool(poisoned(openApp), defaultPoolLimits, timer);
  const violations: string[] = [];
  const onViolation = (violation: string): number => violations.push(violation);
  const upstreamApp = new AppUpstream(
    { host: "127.0.0.1", port: upstreamPort, protocol: options.app ?? "http1" },
    { timer, log: silentLog, violations: { of: () => (violation) => void onViolation(violation) } },
  );
  const forwardOf = (request: RequestHead): Verdict => ({
    kind: "forward",
    upstream: options.toUpstream ?? (options.app === undefined ? toApp : upstreamApp.for(request)),
    edits: { remove: ["x-removed"], add: added },
  });
  const linksTaken: Socket[] = [];
  const linkServer = createServer((socket) => {
    sockets.add(socket);
    linksTaken.push(socket);
    if (options.serve !== undefined) return options.serve(socket);
    const observe = (): RequestObserver => ({
      decide: (request) => options.decide?.(request, forwardOf(request)) ?? forwardOf(request),
      onComplete: (event) => inner.push(event),
    });
    const isClientProxy = options.isClientProxy ?? true;
    const exhausted = options.exhausted === undefined ? {} : { exhausted: options.exhausted };
    const serving = { timer, observe, onFault, onViolation, limits, tunnels, isClientProxy, ...exhausted };
    served.push(serveHttp2(socket, serving));
  });
  const linkPort = await listen(linkServer);

  const linkTo = (port: number): InstanceLink =>
    new InstanceLink({
      open: async () => {
        const opened = await (options.open?.(port) ?? openHttp2(port));
        if (opened.ok) linkSockets.push(opened.value.socket);
        return opened;
      },
      pool: new ConnectionPool(
        poisoned(openTcp({ host: "127.0.0.1", port: upstreamPort })),
        { ...defaultPoolLimits, ...options.poolLimits },
        timer,
      ),
      timer,
      limits: { ...defaultLinkLimits, ...options.linkLimits },
      observer: { onOpened: () => onViolation, onFault },
    });
  const link = linkTo(linkPort);
  const otherLink = linkTo(options.otherPort ?? linkPort);
  const links = options.otherPort === undefined ? [link] : [link, otherLink];
  const avoided: InstanceLink[] = [];
  const choice: LinkChoice = {
    pick: (tried) => {
      const left = links.filter((one) => !tried.includes(one));
      return left.find((one) => !avoided.includes(one)) ?? left[0];
    },
    hasOther: (than) => links.some((one) => one !== than),
    avoid: (one) => avoided.push(one),
    outcomes: options.outcomes,
  };
  const attempts = options.attemptsWith?.(link);
  const shared = attempts === undefined ? {} : { attempts };
  const upstream: Upstream = { begin: (request) => new Http2Exchange({ ...request, ...shared }, choice) };
  const clientSockets: Socket[] = [];
  const decideOutside = (): Verdict => ({
    kind: "forward",
    upstream,
    edits: { remove: ["x-outer"], add: addedOutside },
  });
  const onComplete = (event: CompletedRequest): number => outer.push(event);
  const server = createServer((socket) => {
    sockets.add(socket);
    clientSockets.push(socket);
    const observe = (): RequestObserver => ({ decide: decideOutside, onComplete });
    const onHttp2 = (first: Buffer): void => {
      serveHttp2(socket, { timer, observe, onFault, onViolation, limits, tunnels }, first);
    };
    const asHttp1 = { timer, limits, tunnels, decide: decideOutside, onComplete, onFault };
    serveHttp1(socket, options.takesHttp2 === true ? { ...asHttp1, onHttp2 } : asHttp1);
  });
  const port = await listen(server);
  return {
    port,
    linkPort,
    link,
    otherLink,
    toApp,
    avoided,
    outer,
    inner,
    faults,
    violations,
    clientSockets,
    linkSockets,
    endLinks: () => {
      for (const one of served.splice(0)) one.close();
    },
    passSeconds: (seconds) => {
      clock.advanceSeconds(seconds);
      timer.tick();
    },
    settle: async () => {
      const endMillis = performance.now() + settleMillisMax;
      const isSettled = (): boolean =>
        bytesOf(linkSockets, "bytesWritten") === bytesOf(linksTaken, "bytesRead") &&
        bytesOf(linksTaken, "bytesWritten") === bytesOf(linkSockets, "bytesRead");
      // Whoever reads answers within a turn or two: what is quiet for several of them stays so.
      for (let turns = 0; turns < quietTurns; turns = isSettled() ? turns + 1 : 0) {
        if (performance.now() > endMillis) throw new Error(`bytes are under way for ${settleMillisMax} ms`);
        await nextTurn();
      }
    },
    [Symbol.asyncDispose]: async () => {
      for (const socket of sockets) socket.destroy();
      link.close();
      otherLink.close();
      toApp.close();
      upstreamApp.close();
      await Promise.all([closed(server), closed(linkServer)]);
    },
  };
}

const settleMillisMax = 10_000;
const quietTurns = 4;

function bytesOf(sockets: readonly Socket[], which: "bytesRead" | "bytesWritten"): number {
  return sockets.reduce((sum, socket) => sum + socket[which], 0);
}

/** What the two proxies add to every request. */
const added = headerLines([["X-Added", "inside"]]);
const addedOutside = headerLines([["X-Added-Outside", "yes"]]);

/** Opens a connection that speaks HTTP/2. */
export async function openHttp2(port: number): Promise<Result<OpenedLink, string>> {
  const socket = connect({ port, host: "127.0.0.1" });
  await once(socket, "connect");
  return ok({ socket, isHttp2: true });
}
