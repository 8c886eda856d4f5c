import { readdirSync } from "node:fs";
import { basename } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import {
  askOnce,
  type ClientKind,
  type ClientOutcome,
  clientKinds,
} from "../../apparatus/defined-outcome.ts";
import { canSeeProcesses, processesMarked, signal } from "../../apparatus/marked-processes.ts";
import { allowPairs, openServices, type StartedService } from "../../apparatus/open-services.ts";
import { apparatus, openMesh } from "../../apparatus/running-mesh.ts";
import { type Claim, failed, ok, skipped } from "../claim.ts";

/** Longest documented wait of a request (`responseHeadMillis`), two ticks, and what a busy machine adds. */
const answerMillisMax = 30_000 + 1_000 + 8_000;
/** From silence to a PING, to its answer, to a connection in its place (`pingAfterMillis`, `pingMillis`, `connectMillis`). */
const silenceMillisMax = 2_000 + 5_000 + 5_000 + 2_000 + 6_000;
/** Calls of gRPC have deadlines of their own; without one, `callIdleMillis` is an hour. */
const grpcDeadlineMillis = 8_000;
const strikeMillis = 1_500;
const restMillis = 6_000;
/** Connections kept for use again, more than before. */
const descriptorsMore = 12;

/** What an application does to a request (hard-app.ts). */
const faults = [
  "never",
  "trickle-head",
  "trickle-body",
  "reset-before-head",
  "close-before-head",
  "reset-mid-head",
  "reset-after-head",
  "reset-mid-body",
  "close-mid-body",
  "close-in-chunked",
  "garbage",
] as const;

const overGrpc: readonly ClientKind[] = ["gRPC call", "gRPC stream"];
const overHttp1 = clientKinds.filter((kind) => !overGrpc.includes(kind));

/** Whether an application that does this is there, and only says nothing. */
function isSilent(fault: string): boolean {
  return fault === "never" || fault.startsWith("trickle");
}

/** What is done to a process while it has requests. */
interface Strike {
  readonly text: string;
  readonly process: "sidecar" | "hard-app.ts";
  readonly side: "caller" | "callee";
  readonly signal: NodeJS.Signals;
  readonly limitMillis: number;
}

const strikes: readonly Strike[] = [
  {
    text: "inbound killed",
    process: "sidecar",
    side: "callee",
    signal: "SIGKILL",
    limitMillis: answerMillisMax,
  },
  {
    text: "inbound stopped",
    process: "sidecar",
    side: "callee",
    signal: "SIGSTOP",
    limitMillis: silenceMillisMax,
  },
  { text: "outbound killed", process: "sidecar", side: "caller", signal: "SIGKILL", limitMillis: 5_000 },
  {
    text: "application killed",
    process: "hard-app.ts",
    side: "callee",
    signal: "SIGKILL",
    limitMillis: 5_000,
  },
  {
    text: "application stopped",
    process: "hard-app.ts",
    side: "callee",
    signal: "SIGSTOP",
    limitMillis: answerMillisMax,
  },
];

interface Cell {
  readonly text: string;
  readonly kind: ClientKind;
  readonly limitMillis: number;
  readonly outcome: ClientOutcome;
}

export const claim: Claim = {
  text: "whatever breaks, stops or lies behind it, a client of HTTP/1.1, HTTP/2 or gRPC gets an answer with a reason or a clean cut, in time, and nothing is left (--full: three rounds)",
  limitSeconds: 600,
  run: async ({ isFull, note }) => {
    if (!canSeeProcesses()) return skipped("finding processes takes procfs");
    await using mesh = await openMesh({ kind: "up" });
    await using pairs = new AsyncDisposableStack();
    const names = ["callee", "caller", "struck-caller", ...strikes.map((_, place) => `struck-${place}`)];
    const [callee, caller, struckCaller, ...targets] = await openServices(
      mesh,
      pairs,
      names.map((name) => `/hard/${name}`),
      apparatus("hard-app.ts"),
    );
    if (callee === undefined || caller === undefined || struckCaller === undefined)
      throw new Error("there are no services");
    const struck = strikes.flatMap((strike, place) => {
      const target = targets[place];
      const from = strike.side === "caller" ? struckCaller : caller;
      return target === undefined ? [] : [{ strike, callee: target, caller: from }];
    });
    await allowPairs(mesh, [
      ["/hard/caller", "/hard/callee"],
      ...struck.map(({ caller: from, callee: to }): [string, string] => [from.service, to.service]),
    ]);
    for (const { caller: from, callee: to } of [...struck, { caller, callee }])
      await untilAnswering(from.outboundAddress, hostOf(to.service));
    await sleep(restMillis / 3);
    const watched = [caller, callee].flatMap((service) => processesOf(service, "sidecar"));
    const before = watched.map(descriptorsOf);

    const cells: Cell[] = [];
    const rounds = isFull ? 3 : 1;
    for (let round = 0; round < rounds; round += 1) {
      const target = { address: caller.outboundAddress, host: hostOf("/hard/callee") };
      const asked = (fault: string, kinds: readonly ClientKind[]): Promise<Cell[]> =>
        Promise.all(
          kinds.map((kind) => cellOf(fault, kind, { ...target, path: `/${fault}` }, answerMillisMax)),
        );
      const behaviours = faults.map((fault) => asked(fault, overHttp1));
      // They share a connection to the application, which some of the faults break.
      const calls = (async (): Promise<Cell[]> => {
        const done: Cell[] = [];
        for (const fault of faults.filter((one) => !isSilent(one)))
          done.push(...(await asked(fault, overGrpc)));
        return [
          ...done,
          ...(await Promise.all(faults.filter(isSilent).map((one) => asked(one, overGrpc)))).flat(),
        ];
      })();
      const strucks = round > 0 ? [] : struck.map((one) => strikeOnce(one));
      cells.push(...(await Promise.all([...behaviours, calls, ...strucks])).flat());
    }
    await sleep(restMillis);
    const after = watched.map(descriptorsOf);
    for (const { text, kind, outcome } of cells)
      note(
        `${text}, ${kind}: ${outcome.kind} ${outcome.detail} after ${(outcome.millis / 1000).toFixed(1)} s`,
      );

    const bad = cells.filter((cell) => !isDefined(cell));
    const isLeft = after.some((count, place) => count > (before[place] ?? 0) + descriptorsMore);
    const counted = (kind: ClientOutcome["kind"]): number =>
      cells.filter(({ outcome }) => outcome.kind === kind).length;
    const longest = cells.reduce((one, other) => (one.outcome.millis > other.outcome.millis ? one : other));
    const figure = `${cells.length} requests of ${clientKinds.length} kinds under ${faults.length + strikes.length} faults: ${counted("answered")} answered, ${counted("refused")} refused with a reason, ${counted("cut")} cut within the response, ${counted("broken")} whose own proxy ended, ${counted("unanswered")} given up by calls of gRPC at their own deadline; the longest took ${(longest.outcome.millis / 1000).toFixed(1)} s (${longest.text}, ${longest.kind}); descriptors ${before.join(" and ")} before, ${after.join(" and ")} after`;
    if (bad.length === 0 && !isLeft) return ok(figure);
    const seen = bad.map(
      ({ text, kind, outcome }) =>
        `${text}, ${kind}: ${outcome.kind} ${outcome.detail} after ${outcome.millis.toFixed(0)} ms`,
    );
    return failed(`${figure}; ${seen.slice(0, 8).join("; ")}`);
  },
};

async function cellOf(
  text: string,
  kind: ClientKind,
  target: { readonly address: string; readonly host: string; readonly path: string },
  limitMillis: number,
): Promise<Cell> {
  const patienceMillis =
    overGrpc.includes(kind) && isSilent(text) ? grpcDeadlineMillis : limitMillis + 20_000;
  const outcome = await askOnce(kind, target, patienceMillis);
  return { text, kind, limitMillis, outcome };
}

/** Requests of every kind that take a while, and what becomes of them when a process is struck meanwhile. */
async function strikeOnce({
  strike,
  callee,
  caller,
}: {
  readonly strike: Strike;
  readonly callee: StartedService;
  readonly caller: StartedService;
}): Promise<Cell[]> {
  const target = { address: caller.outboundAddress, host: hostOf(callee.service), path: "/slow" };
  const asked = clientKinds.map((kind) =>
    cellOf(strike.text, kind, target, strike.limitMillis + strikeMillis),
  );
  await sleep(strikeMillis);
  const pids = processesOf(strike.side === "caller" ? caller : callee, strike.process);
  if (pids.length === 0) throw new Error(`${strike.text}: there is no such process`);
  for (const pid of pids) signal(pid, strike.signal);
  const cells = await Promise.all(asked);
  if (strike.signal === "SIGSTOP") for (const pid of pids) signal(pid, "SIGCONT");
  return cells;
}

function isDefined({ text, kind, limitMillis, outcome }: Cell): boolean {
  if (outcome.kind === "unanswered")
    return outcome.detail === "nothing" && overGrpc.includes(kind) && isSilent(text);
  if (outcome.kind === "broken") return text === "outbound killed";
  if (outcome.kind === "answered") return strikes.some((strike) => strike.text === text);
  return outcome.millis <= limitMillis;
}

function processesOf(service: StartedService, name: string): number[] {
  return processesMarked(service.command.mark)
    .filter(({ command: [, script = "", command] }) => command === name || basename(script) === name)
    .map(({ pid }) => pid);
}

function descriptorsOf(pid: number): number {
  return readdirSync(`/proc/${pid}/fd`).length;
}

function hostOf(service: string): string {
  return `${service.split("/").slice(1).toReversed().join(".")}.mesh`;
}

async function untilAnswering(address: string, host: string): Promise<void> {
  for (let attempt = 0; attempt < 100; attempt += 1) {
    const { kind } = await askOnce("GET", { address, host, path: "/ok" }, answerMillisMax);
    if (kind === "answered") return;
    await sleep(100);
  }
  throw new Error(`${host} was never reached`);
}
