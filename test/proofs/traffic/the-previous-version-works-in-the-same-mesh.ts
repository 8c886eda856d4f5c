import { setTimeout as sleep } from "node:timers/promises";
import { meshDirectory } from "../../../src/cli/mesh-directory.ts";
import { OperatorClient } from "../../../src/cli/operator-client.ts";
import { MixedMesh, type MixedService } from "../../apparatus/mixed-mesh.ts";
import { type AskedOnce, openLoopLoad } from "../../apparatus/open-loop-load.ts";
import { openPreviousVersion, type TrothVersion, today } from "../../apparatus/previous-version.ts";
import { type Claim, failed, ok, skipped } from "../claim.ts";

const requestsPerSecond = 20;
const phaseMillisShort = 2_500;
const phaseMillisFull = 20_000;
const requestsPerCombinationMin = 20;

/** Each combination of control plane and node agent carries calls between all combinations of sidecars, and changes of rules by both commands. */
export const claim: Claim = {
  text: "a mesh of the previous version and this one, old and new control plane, node agent, sidecars and commands together, while planes are exchanged: no request fails, and what is too new is refused until the last old one has gone (--full: every combination)",
  limitSeconds: 600,
  run: async ({ isFull, note }) => {
    await using stack = new AsyncDisposableStack();
    const previous = await openPreviousVersion(stack);
    if (typeof previous === "string") return skipped(previous);
    const mesh = stack.use(await MixedMesh.found(previous));
    const [callers, callees] = await servicesOf(mesh, previous);
    const denied = await allow(mesh, today, callers, callees);
    if (denied !== undefined) return failed(denied);
    await mesh.untilSettled(today, 4);
    await sleep(500);

    const asked = new Map<string, AskedOnce[]>();
    const over = new AbortController();
    const loads = Promise.all(
      callers.flatMap((caller) =>
        callees.map((callee) => keepAsking({ caller, callee, asked, isOver: () => over.signal.aborted })),
      ),
    );
    const combinations: Combination[] = [];
    let problem: string | undefined;
    try {
      for (const [controlPlane, agent] of isFull ? allOrders(previous) : mixedOrders(previous)) {
        await mesh.become("control-plane", controlPlane);
        await mesh.become("node-agent", agent);
        await mesh.untilSettled(previous, 4);
        problem ??= await changeRules(mesh, previous);
        const fromMillis = performance.now();
        await sleep(isFull ? phaseMillisFull : phaseMillisShort);
        combinations.push({ controlPlane, agent, fromMillis, toMillis: performance.now() });
        note(`control plane ${controlPlane.name}, node agent ${agent.name}`);
      }
    } finally {
      over.abort();
    }
    const seen = (await loads).flatMap((report) => report.seen);
    const figure = figureOf(asked, combinations);
    if (problem !== undefined) return failed(problem);
    if (seen.length > 0) return failed(`${seen.slice(0, 5).join("; ")}: ${figure}`);
    if (leastOf(asked, combinations) < requestsPerCombinationMin)
      return failed(`too few requests: ${figure}`);
    const late = await whatIsTooNew(mesh, [...callers, ...callees]);
    return late === undefined ? ok(figure) : failed(late);
  },
};

/** The planes of a while. */
interface Combination {
  readonly controlPlane: TrothVersion;
  readonly agent: TrothVersion;
  readonly fromMillis: number;
  readonly toMillis: number;
}

/** Those of control plane and node agent in which either is older than the other, and then both as they are now. */
function mixedOrders(previous: TrothVersion): readonly (readonly [TrothVersion, TrothVersion])[] {
  return [
    [previous, today],
    [today, previous],
    [today, today],
  ];
}

function allOrders(previous: TrothVersion): readonly (readonly [TrothVersion, TrothVersion])[] {
  return [[previous, previous], ...mixedOrders(previous)];
}

async function servicesOf(
  mesh: MixedMesh,
  previous: TrothVersion,
): Promise<readonly [readonly MixedService[], readonly MixedService[]]> {
  let instances = 0;
  const serve = (version: TrothVersion, role: string): Promise<MixedService> => {
    instances += 1;
    return mesh.serve(version, `/mixed/${version === today ? "new" : "old"}-${role}`, instances);
  };
  return [
    [await serve(previous, "caller"), await serve(today, "caller")],
    [await serve(previous, "callee"), await serve(today, "callee")],
  ];
}

async function allow(
  mesh: MixedMesh,
  version: TrothVersion,
  callers: readonly MixedService[],
  callees: readonly MixedService[],
): Promise<string | undefined> {
  for (const caller of callers)
    for (const callee of callees) {
      const { code, stderr } = await version.run(mesh.path, "allow", caller.service, callee.service);
      if (code !== 0) return `troth allow: ${stderr}`;
    }
  return undefined;
}

/** Has the commands of both versions change what nobody calls by, and the older one hear that every proxy has it. */
async function changeRules(mesh: MixedMesh, previous: TrothVersion): Promise<string | undefined> {
  const rule = ["/mixed/old-callee", "/mixed/new-caller"];
  for (const [version, args] of [
    [previous, ["allow", ...rule]],
    [today, ["deny", ...rule]],
    [previous, ["wait", "--timeout", "20"]],
  ] as const) {
    const { code, stderr } = await version.run(mesh.path, ...args);
    if (code !== 0) return `troth ${args[0]} of the ${version.name} version: ${stderr}`;
  }
  return undefined;
}

async function keepAsking(about: {
  readonly caller: MixedService;
  readonly callee: MixedService;
  readonly asked: Map<string, AskedOnce[]>;
  readonly isOver: () => boolean;
}): ReturnType<typeof openLoopLoad> {
  const { caller, callee, asked, isOver } = about;
  const list: AskedOnce[] = [];
  asked.set(`${caller.service} ${callee.service}`, list);
  const host = `${callee.service.split("/").at(-1)}.mixed.mesh`;
  const { outboundAddress } = caller;
  return openLoopLoad({ outboundAddress, host, requestsPerSecond, isOver, onEnd: (one) => list.push(one) });
}

/** An entry that the old sidecars do not know waits until they have gone; undefined where that is so. */
async function whatIsTooNew(mesh: MixedMesh, services: readonly MixedService[]): Promise<string | undefined> {
  const granted = await today.run(
    mesh.path,
    "operator",
    "require",
    "--kind",
    "node.zone",
    "--signatures",
    "1",
  );
  if (granted.code !== 0) return `troth operator require: ${granted.stderr}`;
  await mesh.untilSettled(today, services.length);
  using client = await OperatorClient.open(meshDirectory(mesh.path));
  const zone = [{ kind: "node.zone" as const, body: { node: "local", zone: "a" } }];
  const refusal = await client.append(zone).then(
    () => "it was ordered",
    (error: unknown) => String(error),
  );
  const old = services.filter(({ version }) => version !== today);
  const isNamed = old.every(({ service }) => refusal.includes(`${service} `));
  const isOther = services.some(
    ({ version, service }) => version === today && refusal.includes(`${service} `),
  );
  if (!refusal.includes("older-followers") || !isNamed || isOther)
    return `an entry that only the new ones know: ${refusal}`;
  for (const { command } of old) await command[Symbol.asyncDispose]();
  await mesh.untilSettled(today, services.length - old.length);
  await client.append(zone);
  await mesh.untilSettled(today, services.length - old.length);
  return undefined;
}

function countsOf(
  asked: ReadonlyMap<string, readonly AskedOnce[]>,
  { fromMillis, toMillis }: Combination,
): number[] {
  return [...asked.values()].map(
    (list) => list.filter(({ sentMillis }) => sentMillis >= fromMillis && sentMillis < toMillis).length,
  );
}

function leastOf(
  asked: ReadonlyMap<string, readonly AskedOnce[]>,
  combinations: readonly Combination[],
): number {
  return Math.min(...combinations.flatMap((one) => countsOf(asked, one)));
}

function figureOf(
  asked: ReadonlyMap<string, readonly AskedOnce[]>,
  combinations: readonly Combination[],
): string {
  const all = [...asked.values()].flat();
  const lost = all.filter(({ status }) => status !== 200).length;
  const parts = combinations.map((one) => {
    const counts = countsOf(asked, one);
    const sum = counts.reduce((total, count) => total + count, 0);
    return `${one.controlPlane.name} control plane and ${one.agent.name} agent ${sum}`;
  });
  return `${all.length} requests, ${lost} failed, between old and new sidecars both ways (${parts.join(", ")}), the others while planes were exchanged`;
}
