import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { performance } from "node:perf_hooks";
import { setTimeout as sleep } from "node:timers/promises";
import { standingThresholds } from "../../../src/control-plane/index.ts";
import { logPapers, makePapers, meet, metadataExtension } from "../../apparatus/hostile-peer.ts";
import { MeshInProcess } from "../../apparatus/mesh-in-process.ts";
import {
  holdRequest,
  keepCalling,
  openWatchedInstance,
  type WatchedInstance,
} from "../../apparatus/watched-instance.ts";
import type { Workload } from "../../apparatus/workload.ts";
import { type Claim, failed, ok } from "../claim.ts";

const host = "pay.shop.mesh";
const everyMillis = 20;
/** One that was not called for so long is called no more: it would be a hundred times as often. */
const quietMillis = 1_000;
const waitMillisMax = 240_000;
const short = { callerRequestsMin: 5, failingDegradeSeconds: 1, brokenQuarantineSeconds: 3 };
const shortBack = { restoreSeconds: 2, releaseSeconds: 2, serviceSecondsMin: 0 };

interface Shop {
  readonly mesh: MeshInProcess;
  readonly callers: readonly Workload[];
  readonly pays: readonly [WatchedInstance, WatchedInstance, WatchedInstance];
  readonly feed: string;
}

/** Three instances that are called by two callers fifty times a second each; proxies, agent and control plane are real. */
export const claim: Claim = {
  text: "an instance that reports or shows trouble is degraded, quarantined and returns only by a newer decision; a bad feed empties no service (thresholds of seconds; --full: those of the product)",
  limitSeconds: 900,
  run: async (context) => {
    const folder = await mkdtemp(join(tmpdir(), "troth-proof-"));
    await using stack = new AsyncDisposableStack();
    stack.defer(() => rm(folder, { recursive: true, force: true }));
    const shop = await openShop(stack, join(folder, "feed.json"), context.isFull);
    const [first, second] = shop.callers.map((caller) => stack.use(keepCalling(caller, host, everyMillis)));
    await until(() => shop.pays.every(isCalled), "all are called");

    const health = await healthRounds(shop, context.isFull ? 5 : 2);
    context.note(`health: ${health}`);
    const decider = await failAndHeal(shop);
    context.note(`decider: ${decider}`);
    const operator = await quarantineRounds(shop, context.isFull ? 20 : 4);
    context.note(`operator: ${operator.figure}`);
    const attack = await attackFromQuarantine(shop);
    context.note(`attack: ${attack.figure}`);
    const lost = [first, second].map((calls) => lostOf(calls?.statuses ?? new Map()));
    const share = await feedEverything(shop);
    const figure = `${health}; ${decider}; ${operator.figure}; ${attack.figure}; ${share.figure}; requests failed meanwhile, but for the failing instance's own: ${lost.join(" and ")}`;
    return operator.isSo && attack.isSo && share.isSo ? ok(figure) : failed(figure);
  },
};

async function openShop(stack: AsyncDisposableStack, feed: string, isFull: boolean): Promise<Shop> {
  const thresholds = isFull ? {} : { standingThresholds: { ...standingThresholds, ...short, ...shortBack } };
  const mesh = stack.use(await MeshInProcess.found({ vulnerabilityFeed: feed, ...thresholds }));
  const callers = [await mesh.open("/shop/web"), await mesh.open("/shop/job")];
  const pays = [
    await openWatchedInstance(mesh, "/shop/pay"),
    await openWatchedInstance(mesh, "/shop/pay"),
    await openWatchedInstance(mesh, "/shop/pay"),
  ] as const;
  await mesh.putRule("/*", "/*");
  await mesh.settled();
  return { mesh, callers, pays, feed };
}

/** How long an instance whose health check begins to fail is called still, and how long until it is called again. */
async function healthRounds({ pays: [one] }: Shop, rounds: number): Promise<string> {
  const [out, back]: [number[], number[]] = [[], []];
  for (let round = 0; round < rounds; round += 1) {
    const unwellMillis = performance.now();
    one.mood = "unwell";
    await until(() => performance.now() - one.calledMillis() > quietMillis, "it is left alone");
    out.push(one.calledMillis() - unwellMillis);
    const wellMillis = performance.now();
    one.mood = "fine";
    await until(() => isCalled(one), "it is called again");
    back.push(performance.now() - wellMillis);
  }
  return `unhealthy to the last call ${range(out)}, healthy to the next ${range(back)}`;
}

/** An instance that answers everything with 500 is degraded, then quarantined, and is back by decisions alone. */
async function failAndHeal(shop: Shop): Promise<string> {
  const [, one] = shop.pays;
  const failingMillis = performance.now();
  one.mood = "failing";
  await until(() => stateOf(shop, one) === "degraded", "it is degraded");
  const degraded = performance.now() - failingMillis;
  await until(() => stateOf(shop, one) === "quarantined", "it is in quarantine");
  const quarantined = performance.now() - failingMillis;
  await until(() => performance.now() - one.calledMillis() > quietMillis, "it is left alone");
  const wellMillis = performance.now();
  one.mood = "fine";
  await until(() => stateOf(shop, one) === "serving" && isCalled(one), "it is back");
  return `failing to degraded ${seconds(degraded)}, to quarantined ${seconds(quarantined)}; well to called again ${seconds(performance.now() - wellMillis)}`;
}

/** From an operator's decision to the end of all that is open at the instance and of all calls. */
async function quarantineRounds(
  shop: Shop,
  rounds: number,
): Promise<{ readonly isSo: boolean; readonly figure: string }> {
  const { mesh, callers, pays } = shop;
  const [cut, called]: [number[], number[]] = [[], []];
  let staleReleases = 0;
  for (let round = 0; round < rounds; round += 1) {
    const one = pays[round % pays.length] ?? pays[0];
    const { instance } = one.workload;
    // Calls of its own, which go where it is allowed to.
    const open = callers.map(({ host: to }) => holdRequest(one.workload, to));
    await until(() => callers.every(({ app }) => app.bytes() > 0), "requests of its own are open");
    const decidedMillis = performance.now();
    await mesh.put("instance.quarantine", { instance, reason: "suspicion", evidence: {} });
    cut.push(Math.max(...(await Promise.all(open))) - decidedMillis);
    await until(() => performance.now() - one.calledMillis() > quietMillis, "it is left alone");
    called.push(Math.max(0, one.calledMillis() - decidedMillis));
    const decision = decisionOn(shop, one);
    if (!(await release(shop, one, decision - 1))) staleReleases += 1;
    await release(shop, one, decision);
    await until(() => isCalled(one), "it is called again");
  }
  const figure = `quarantine to the last open request cut ${range(cut)}, to the last call ${range(called)} in ${rounds} rounds; ${staleReleases} of ${rounds} releases that name an older decision without effect`;
  return { isSo: staleReleases === rounds, figure };
}

/** With the papers of an instance in quarantine, past its own sidecar; and as itself, registered anew. */
async function attackFromQuarantine(
  shop: Shop,
): Promise<{ readonly isSo: boolean; readonly figure: string }> {
  const { mesh, callers, pays } = shop;
  const [thief, ...others] = pays;
  const { instance } = thief.workload;
  const papers = makePapers(mesh.intermediate, [`spiffe://${mesh.trustDomain}/shop/pay`], {
    extensions: (usual) => [...usual, metadataExtension(instance, "/shop/pay")],
  });
  await logPapers(mesh, papers, { service: "/shop/pay", instance });
  await mesh.settled();
  const everywhere = [...callers, ...others.map(({ workload }) => workload)];
  const answered = async (): Promise<number> => {
    const met = await Promise.all(everywhere.map(({ sidecar }) => meet(sidecar.inboundAddress, papers)));
    return met.filter(({ answer }) => answer.startsWith("HTTP/1.1 200")).length;
  };
  const before = await answered();
  await mesh.put("instance.quarantine", { instance, reason: "compromised", evidence: {} });
  await mesh.settled();
  const during = await answered();
  const own = await thief.workload.call(callers[0]?.host ?? "");
  const { writer } = mesh.controlPlane;
  await writer.write([{ role: "issuer", kind: "instance.remove", body: { instance } }]);
  const body = { instance, service: "/shop/pay", node: "here", auditKey: "" };
  const again = await writer.write([{ role: "issuer", kind: "instance.register", body }]);
  await release(shop, thief, decisionOn(shop, thief));
  await until(() => isCalled(thief), "it is back after its release");
  const isSo = before === everywhere.length && during === 0 && own.reason === "quarantined" && !again.ok;
  const figure = `a thief with its papers: ${before} of ${everywhere.length} proxies answered before, ${during} in quarantine; its own calls: ${own.status} ${own.reason}; registered anew: ${again.ok ? "yes" : again.reason}`;
  return { isSo, figure };
}

/** A feed that says the worst of every instance; what of them serves on. */
async function feedEverything(shop: Shop): Promise<{ readonly isSo: boolean; readonly figure: string }> {
  const { mesh, pays, feed } = shop;
  const vulnerabilities = [{ id: "CVE-2026-0001", cvss: 10, service: "/shop/pay" }];
  await writeFile(feed, JSON.stringify({ kind: "VulnerabilityFeed", vulnerabilities }));
  const withheld = async (): Promise<number> =>
    (await mesh.alarms()).filter(({ reason }) => reason === "decision-withheld").length;
  await until(async () => (await withheld()) >= 2, "what is withheld is told of");
  const states = pays.map((one) => stateOf(shop, one));
  const cut = states.filter((state) => state === "quarantined").length;
  const serving = states.filter((state) => state === "serving").length;
  return {
    isSo: cut === 1 && serving === 2,
    figure: `CVSS 10 for all: ${cut} of ${pays.length} cut off, ${serving} serve`,
  };
}

function stateOf({ mesh }: Shop, { workload }: WatchedInstance): string {
  return mesh.controlPlane.writer.state.standings.get(workload.instance)?.state ?? "serving";
}

function decisionOn({ mesh }: Shop, { workload }: WatchedInstance): number {
  return mesh.controlPlane.writer.state.standings.get(workload.instance)?.decision ?? 0;
}

/** Whether the log took it. */
async function release({ mesh }: Shop, { workload }: WatchedInstance, decision: number): Promise<boolean> {
  const entry = mesh.sign("instance.release", { instance: workload.instance, decision });
  return (await mesh.controlPlane.writer.submit([entry])).ok;
}

function isCalled(one: WatchedInstance): boolean {
  return performance.now() - one.calledMillis() < 10 * everyMillis;
}

function lostOf(statuses: ReadonlyMap<number, number>): string {
  const all = [...statuses.values()].reduce((sum, count) => sum + count, 0);
  const failing = statuses.get(500) ?? 0;
  return `${all - failing - (statuses.get(200) ?? 0)} of ${all}`;
}

async function until(isSo: () => boolean | Promise<boolean>, what: string): Promise<void> {
  const endMillis = performance.now() + waitMillisMax;
  while (!(await isSo())) {
    if (performance.now() > endMillis) throw new Error(`${what}: did not come about`);
    await sleep(10);
  }
}

function range(millis: readonly number[]): string {
  const sorted = millis.toSorted((one, other) => one - other);
  const middle = sorted[Math.floor((sorted.length - 1) / 2)] ?? 0;
  return `${middle.toFixed(0)} ms (at most ${Math.max(...millis).toFixed(0)})`;
}

function seconds(millis: number): string {
  return `${(millis / 1000).toFixed(1)} s`;
}
