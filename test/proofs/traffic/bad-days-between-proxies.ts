import http2 from "node:http2";
import { setTimeout as sleep } from "node:timers/promises";
import { BrokenPath, type PathFault, pathFaults } from "../../apparatus/broken-path.ts";
import {
  askOnce,
  type ClientKind,
  type ClientOutcome,
  clientKinds,
} from "../../apparatus/defined-outcome.ts";
import { type GrantedSvid, obtainSvid } from "../../apparatus/granted-svid.ts";
import { type InspectedPair, openInspectedPair, toldOf } from "../../apparatus/inspected-pair.ts";
import {
  type InspectedSidecar,
  openInspectedSidecar,
  registerServices,
} from "../../apparatus/inspected-sidecar.ts";
import { canSeeProcesses, signal } from "../../apparatus/marked-processes.ts";
import { openPlainMember } from "../../apparatus/plain-member.ts";
import { troth } from "../../apparatus/running-mesh.ts";
import { type Claim, failed, ok, skipped } from "../claim.ts";

/** `sendStallMillis` or `responseHeadMillis`, two ticks, and what a busy machine adds. */
const stallMillisMax = 30_000 + 1_000 + 8_000;
/** From silence to a PING, to its answer, to a connection in its place (`pingAfterMillis`, `pingMillis`, `connectMillis`). */
const silenceMillisMax = 2_000 + 5_000 + 5_000 + 2_000 + 6_000;
/** Longer than its peers wait for it, and than the log takes to grow by an epoch. */
const stoppedMillisMin = 12_000;
/** `troth proxy status` calls a proxy stale after three epochs. */
const stoppedMillisMax = 40_000;
const strikeMillis = 1_500;
const restMillis = 6_000;
/** Connections kept for use again. */
const heldMore = 16;
/** From round to round, once all code has run. */
const heapBytesMore = 2 * 2 ** 20;
const downloadBytes = 2 ** 30;

interface Cell {
  readonly text: string;
  readonly kind: ClientKind;
  readonly limitMillis: number;
  readonly outcome: ClientOutcome;
}

export const claim: Claim = {
  text: "when a member of the mesh stops reading, stops within a record, or vanishes without a word, or the client's own sidecar is stopped for a while, clients get a defined answer in time and nothing is left (--full: four rounds, for half a minute)",
  limitSeconds: 600,
  run: async ({ isFull, note }) => {
    if (!canSeeProcesses()) return skipped("looking at descriptors takes procfs");
    await using pair = await openInspectedPair();
    await using more = new AsyncDisposableStack();
    await registerServices(pair.mesh, "/hard/stopped", "/hard/callee");
    await registerServices(pair.mesh, "/hard/peer", "/hard/callee");
    await registerServices(pair.mesh, "/hard/unread");
    for (const fault of pathFaults) await registerServices(pair.mesh, serviceOf(fault));
    const appPort = Number(pair.appAddress.split(":")[1]);
    const stopped = more.use(await openInspectedSidecar(pair.mesh, "/hard/stopped", appPort));
    const peer = more.use(await obtainSvid(pair.mesh, "/hard/peer"));
    const paths: BrokenCallee[] = [];
    for (const fault of pathFaults) {
      const host = hostOf(serviceOf(fault));
      paths.push({ fault, host, path: await openCallee(pair, more, serviceOf(fault)) });
      await untilAnswering(pair.caller, host);
    }
    await openCallee(pair, more, "/hard/unread");
    await untilAnswering(pair.caller, hostOf("/hard/unread"));
    for (const from of [pair.caller, stopped]) await untilAnswering(from, pair.host);
    await sleep(restMillis);
    const watched = [pair.caller, pair.callee, stopped];
    const before = await Promise.all(watched.map((sidecar) => sidecar.holdings()));

    const cells: Cell[] = [];
    let isNamed = true;
    let after = before;
    let first = before;
    for (let round = 0; round < (isFull ? 4 : 1); round += 1) {
      const [seen, ...others] = await Promise.all([
        stopClientsSidecar(pair, stopped, isFull),
        ...(isFull ? [leaveUnread(pair.caller, hostOf("/hard/unread"))] : []),
        ...paths.map((broken) => breakPathTo(pair.caller, broken)),
        ...pathFaults.map((fault) => breakPathFrom(pair, peer, fault)),
        breakHandshake(pair, peer),
      ]);
      isNamed &&= seen.isNamed;
      cells.push(...seen.cells, ...others.flat());
      await sleep(restMillis);
      after = await Promise.all(watched.map((sidecar) => sidecar.holdings()));
      if (round === 0) first = after;
      note(`round ${round + 1}: ${after.map(toldOf).join("; ")}`);
    }
    for (const { text, kind, outcome } of cells)
      note(
        `${text}, ${kind}: ${outcome.kind} ${outcome.detail} after ${(outcome.millis / 1000).toFixed(1)} s`,
      );

    const bad = cells.filter((cell) => !isDefined(cell));
    const left = watched.filter((_, place) => {
      const [then, warm, now] = [before[place], first[place], after[place]];
      if (then === undefined || warm === undefined || now === undefined) return true;
      return (
        now.descriptors > then.descriptors + heldMore ||
        now.sockets > then.sockets + heldMore ||
        now.timers > then.timers + heldMore ||
        now.heapBytes > warm.heapBytes + heapBytesMore
      );
    });
    const counted = (kind: ClientOutcome["kind"]): number =>
      cells.filter(({ outcome }) => outcome.kind === kind).length;
    const longest = cells.reduce((one, other) => (one.outcome.millis > other.outcome.millis ? one : other));
    const figure = [
      `${cells.length} requests: ${counted("answered")} answered, ${counted("refused")} refused with a reason, ${counted("cut")} cut within the response; the longest took ${(longest.outcome.millis / 1000).toFixed(1)} s (${longest.text}, ${longest.kind})`,
      isNamed ? "troth status named the stopped sidecar" : "troth status did not name the stopped sidecar",
      ...watched.map(({ service }, place) => {
        const [first, last] = [before[place], after[place]];
        return first === undefined || last === undefined
          ? ""
          : `${service} from ${toldOf(first)} to ${toldOf(last)}`;
      }),
    ].join("; ");
    if (bad.length === 0 && left.length === 0 && isNamed) return ok(figure);
    const seen = bad.map(
      ({ text, kind, outcome }) =>
        `${text}, ${kind}: ${outcome.kind} ${outcome.detail} after ${outcome.millis.toFixed(0)} ms`,
    );
    const held = left.map(({ service }) => `${service} holds more than before`);
    return failed(`${figure}; ${[...seen.slice(0, 8), ...held].join("; ")}`);
  },
};

/** A callee that is no sidecar, and the path to it. */
interface BrokenCallee {
  readonly fault: PathFault;
  readonly path: BrokenPath;
  readonly host: string;
}

async function openCallee(
  { mesh }: InspectedPair,
  stack: AsyncDisposableStack,
  service: string,
): Promise<BrokenPath> {
  const svid = stack.use(await obtainSvid(mesh, service));
  const member = stack.use(await openPlainMember(svid.credentials));
  const path = stack.use(await BrokenPath.open(member.address));
  await svid.advertise(path.address);
  return path;
}

/** Requests that are on their way when the path breaks, and requests that come just afterwards. */
async function breakPathTo(caller: InspectedSidecar, { fault, path, host }: BrokenCallee): Promise<Cell[]> {
  const ask = (when: string, name: string, limitMillis: number): Promise<Cell>[] =>
    clientKinds.map((kind) =>
      cellOf(`callee ${fault}, ${when}`, { kind, from: caller, host, path: name }, limitMillis),
    );
  const before = ask("before", "/slow", silenceMillisMax + strikeMillis);
  await sleep(strikeMillis);
  path.break(fault);
  const cells = await Promise.all([...before, ...ask("after", "/ok", silenceMillisMax)]);
  path.mend();
  await untilAnswering(caller, host);
  return cells;
}

/** A callee that answers PINGs and never reads what it is sent. */
async function leaveUnread(caller: InspectedSidecar, host: string): Promise<Cell[]> {
  const asked = { kind: "POST", from: caller, host, path: "/unread" } as const;
  return [await cellOf("callee leaves it unread", asked, stallMillisMax)];
}

/** A caller that breaks off like this; what it had open ends at the callee's sidecar, and others are served meanwhile. */
async function breakPathFrom(pair: InspectedPair, peer: GrantedSvid, fault: PathFault): Promise<Cell[]> {
  const { callee, caller, host } = pair;
  await using path = await BrokenPath.open(callee.inboundAddress, "listener");
  const session = http2.connect(`https://${path.address}`, {
    ...peer.credentials,
    rejectUnauthorized: false,
  });
  session.on("error", () => {});
  const download = session.request({ ":path": `/${downloadBytes}` });
  const upload = session.request({ ":path": "/count", ":method": "POST" });
  const never = session.request({ ":path": "/never" });
  for (const stream of [download, upload, never]) stream.on("error", () => {});
  await new Promise<void>((resolve) => download.once("data", () => resolve()));
  download.on("data", () => {});
  upload.write(Buffer.alloc(1024));
  await sleep(strikeMillis);
  path.break(fault);
  upload.write(Buffer.alloc(16 * 1024));
  const started = performance.now();
  const cell = cellOf(
    `caller ${fault}, beside`,
    { kind: "GET", from: caller, host, path: "/slow" },
    silenceMillisMax,
  );
  while (!path.isLeft && performance.now() - started < stallMillisMax) await sleep(100);
  const millis = performance.now() - started;
  const kind = path.isLeft ? "cut" : "unanswered";
  session.destroy();
  const own: Cell = {
    text: `caller ${fault}`,
    kind: "HTTP/2 GET",
    limitMillis: stallMillisMax,
    outcome: { kind, detail: "by the callee's sidecar", millis },
  };
  return [own, await cell];
}

/** A caller whose first record never becomes whole. */
async function breakHandshake({ callee }: InspectedPair, peer: GrantedSvid): Promise<Cell[]> {
  await using path = await BrokenPath.open(callee.inboundAddress, "listener");
  path.break("stops within a record");
  const session = http2.connect(`https://${path.address}`, {
    ...peer.credentials,
    rejectUnauthorized: false,
  });
  session.on("error", () => {});
  const started = performance.now();
  while (!path.isLeft && performance.now() - started < silenceMillisMax) await sleep(100);
  session.destroy();
  const kind = path.isLeft ? "cut" : "unanswered";
  const outcome = { kind, detail: "by the callee's sidecar", millis: performance.now() - started } as const;
  return [
    {
      text: "caller stops within its first record",
      kind: "HTTP/2 GET",
      limitMillis: silenceMillisMax,
      outcome,
    },
  ];
}

/** The client can be told nothing while its sidecar stands still, and is told as soon as that goes on. */
async function stopClientsSidecar(
  pair: InspectedPair,
  stopped: InspectedSidecar,
  isLong: boolean,
): Promise<{ readonly cells: Cell[]; readonly isNamed: boolean }> {
  const { host } = pair;
  const asked = clientKinds.map((kind) => {
    const slow = { kind, from: stopped, host, path: "/slow" };
    return cellOf("client's sidecar stopped", slow, strikeMillis + stoppedMillisMax + silenceMillisMax);
  });
  await sleep(strikeMillis);
  signal(stopped.pid, "SIGSTOP");
  const started = performance.now();
  let isNamed = false;
  while (!isNamed && performance.now() - started < stoppedMillisMax) {
    await sleep(1_000);
    isNamed = await isNamedAlone(pair, stopped, isLong ? /STALE/ : /STALE|BEHIND/);
  }
  await sleep(Math.max(0, stoppedMillisMin - (performance.now() - started)));
  signal(stopped.pid, "SIGCONT");
  const cells = await Promise.all(asked);
  await untilAnswering(stopped, host);
  return { cells, isNamed };
}

/** Whether an operator sees which of the sidecars stands still. */
async function isNamedAlone(
  { mesh, caller, callee }: InspectedPair,
  stopped: InspectedSidecar,
  state: RegExp,
): Promise<boolean> {
  const { stdout } = await troth(mesh.path, "proxy", "status");
  const rows = stdout.split("\n").map((line) => line.split(/ {2,}/));
  const isShown = ({ service }: InspectedSidecar, shown: RegExp): boolean =>
    rows.some((row) => row[1] === service && shown.test(row[4] ?? ""));
  return isShown(stopped, state) && [caller, callee].every((one) => isShown(one, /SYNCED/));
}

async function cellOf(
  text: string,
  asked: {
    readonly kind: ClientKind;
    readonly from: InspectedSidecar;
    readonly host: string;
    readonly path: string;
  },
  limitMillis: number,
): Promise<Cell> {
  const { kind, from, host, path } = asked;
  const outcome = await askOnce(kind, { address: from.outboundAddress, host, path }, limitMillis + 20_000);
  return { text, kind, limitMillis, outcome };
}

function isDefined({ limitMillis, outcome }: Cell): boolean {
  const { kind, millis } = outcome;
  return (kind === "answered" || kind === "refused" || kind === "cut") && millis <= limitMillis;
}

function serviceOf(fault: string): string {
  return `/hard/${fault.replaceAll(" ", "-")}`;
}

function hostOf(service: string): string {
  return `${service.split("/").slice(1).toReversed().join(".")}.mesh`;
}

async function untilAnswering(from: InspectedSidecar, host: string): Promise<void> {
  const endMillis = performance.now() + stallMillisMax;
  while (performance.now() < endMillis) {
    const target = { address: from.outboundAddress, host, path: "/ok" };
    const { kind } = await askOnce("GET", target, stallMillisMax);
    if (kind === "answered") return;
    await sleep(100);
  }
  throw new Error(`${host} was never reached`);
}
