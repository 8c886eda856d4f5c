import { once } from "node:events";
import { type AddressInfo, connect, createServer, type Server, type Socket } from "node:net";
import { ok, type Result } from "../../src/base/result.ts";
import { type AppProtocol, AppUpstream } from "../../src/data-plane/app-upstream.ts";
import { CoarseTimer } from "../../src/data-plane/coarse-timer.ts";
import {
  type CompletedRequest,
  ConnectionPool,
  defaultLinkLimits,
  defaultPoolLimits,
  Http2Exchange,
  InstanceLink,
  type LinkLimits,
  type OpenedLink,
  openTcp,
  type RequestObserver,
  serveHttp1,
  serveHttp2,
  type Upstream,
  type Verdict,
} from "../../src/data-plane/forwarding/index.ts";
import { defaultHttp1Limits, headerLines, type RequestHead } from "../../src/data-plane/http1/index.ts";
import { fakeClock } from "../fakes/fake-clock.ts";
import { silentLog } from "../fakes/silent-log.ts";

/** Two proxies with HTTP/2 between them, whose time stands still until it is moved. */
export interface LinkHop extends AsyncDisposable {
  readonly port: number;
  /** Where the inner proxy takes HTTP/2. */
  readonly linkPort: number;
  readonly link: InstanceLink;
  /** What the outer and the inner proxy say of requests that are over. */
  readonly outer: CompletedRequest[];
  readonly inner: CompletedRequest[];
  readonly faults: unknown[];
  /** What the outer proxy's clients and peers, and the inner one's, did against the rules of HTTP/2. */
  readonly violations: string[];
  /** Connections between the proxies, as the outer one sees them. */
  readonly linkSockets: Socket[];
  /** Lets the inner proxy end all connections with the requests that they carry. */
  endLinks(): void;
  passSeconds(seconds: number): void;
}

/** What a test changes about the two proxies. */
export interface LinkHopOptions {
  readonly decide?: (request: RequestHead, forward: Verdict) => Verdict | Promise<Verdict>;
  readonly open?: (port: number) => Promise<Result<OpenedLink, string>>;
  /** Serves a connection between the proxies in place of the inner one. */
  readonly serve?: (socket: Socket) => void;
  readonly linkLimits?: Partial<LinkLimits>;
  /** Whether the outer proxy takes HTTP/2 as well. */
  readonly takesHttp2?: boolean;
  /** What the application speaks; HTTP/1.1 unless given. */
  readonly app?: AppProtocol;
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

  const violations: string[] = [];
  const onViolation = (violation: string): number => violations.push(violation);

  const app = { host: "127.0.0.1", port: upstreamPort, protocol: options.app ?? "http1" };
  const toApp = new AppUpstream(app, {
    timer,
    log: silentLog,
    violations: { of: () => (violation) => void onViolation(violation) },
  });
  const forwardOf = (request: RequestHead): Verdict => ({
    kind: "forward",
    upstream: toApp.for(request),
    edits: { remove: ["x-removed"], add: added },
  });
  const linkServer = createServer((socket) => {
    sockets.add(socket);
    if (options.serve !== undefined) return options.serve(socket);
    const observe = (): {
      decide(request: RequestHead): Verdict | Promise<Verdict>;
      onComplete(event: CompletedRequest): void;
    } => ({
      decide: (request) => options.decide?.(request, forwardOf(request)) ?? forwardOf(request),
      onComplete: (event) => inner.push(event),
    });
    served.push(serveHttp2(socket, { timer, observe, onFault, onViolation }));
  });
  const linkPort = await listen(linkServer);

  const open = async (): Promise<Result<OpenedLink, string>> => {
    const opened = await (options.open?.(linkPort) ?? openHttp2(linkPort));
    if (opened.ok) linkSockets.push(opened.value.socket);
    return opened;
  };
  const pool = new ConnectionPool(
    openTcp({ host: "127.0.0.1", port: upstreamPort }),
    defaultPoolLimits,
    timer,
  );
  const link = new InstanceLink({
    open,
    pool,
    timer,
    limits: { ...defaultLinkLimits, ...options.linkLimits },
    observer: { onOpened: () => onViolation, onFault },
  });
  const upstream: Upstream = {
    begin: (request) =>
      new Http2Exchange(request, {
        pick: (tried) => (tried.includes(link) ? undefined : link),
        hasOther: () => false,
        avoid: () => {},
      }),
  };
  const server = createServer((socket) => {
    sockets.add(socket);
    const observer: RequestObserver = {
      decide: () => ({ kind: "forward", upstream, edits: { remove: ["x-outer"], add: addedOutside } }),
      onComplete: (event) => outer.push(event),
    };
    const onHttp2 = (first: Buffer): void => {
      serveHttp2(socket, { timer, observe: () => observer, onFault, onViolation }, first);
    };
    serveHttp1(socket, {
      ...observer,
      timer,
      limits: defaultHttp1Limits,
      onFault,
      ...(options.takesHttp2 === true ? { onHttp2 } : {}),
    });
  });
  const port = await listen(server);
  return {
    port,
    linkPort,
    link,
    outer,
    inner,
    faults,
    violations,
    linkSockets,
    endLinks: () => {
      for (const one of served.splice(0)) one.close();
    },
    passSeconds: (seconds) => {
      clock.advanceSeconds(seconds);
      timer.tick();
    },
    [Symbol.asyncDispose]: async () => {
      for (const socket of sockets) socket.destroy();
      link.close();
      toApp.close();
      await Promise.all([closed(server), closed(linkServer)]);
    },
  };
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

async function listen(server: Server): Promise<number> {
  server.listen(0, "127.0.0.1");
  await once(server, "listening");
  const address = server.address();
  return isAddress(address) ? address.port : 0;
}

function isAddress(address: string | AddressInfo | null): address is AddressInfo {
  return typeof address === "object" && address !== null;
}

async function closed(server: Server): Promise<void> {
  await new Promise((resolve) => server.close(resolve));
}
