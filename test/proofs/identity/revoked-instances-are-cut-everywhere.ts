import { OperatorClient } from "../../../src/cli/operator-client.ts";
import { canSeeProcesses } from "../../apparatus/marked-processes.ts";
import {
  type CalledSidecar,
  type Holder,
  isAnswered,
  openHolder,
  type RevocationSeen,
  revokeHolder,
} from "../../apparatus/revoked-instances.ts";
import { openMesh } from "../../apparatus/running-mesh.ts";
import { openSidecarFleet } from "../../apparatus/sidecar-fleet.ts";
import { type Claim, failed, ok, skipped } from "../claim.ts";

const full = { sidecars: 100, revocations: 20, bystanders: 4 };
const short = { sidecars: 12, revocations: 6, bystanders: 2 };
/** Of so many services one is called over TCP. */
const tcpEvery = 4;
const heldPerSidecar = 10;
const p99MillisMax = 1_000;

/** Sidecars are real processes; the instances that are revoked are connections of this one, each with papers of its own. */
export const claim: Claim = {
  text: "of 12 sidecars with 10 live connections each, revoked instances lose all of theirs within a second, get no answer after a receipt, and others lose nothing (6 revocations; --full: 100 sidecars, 20)",
  limitSeconds: 900,
  run: async (context) => {
    if (!canSeeProcesses()) return skipped("starting many sidecars takes procfs");
    const size = context.isFull ? full : short;
    await using mesh = await openMesh({ kind: "up", requestTokens: "off" });
    using client = await OperatorClient.open(mesh.directory);
    await prepare(client, size.sidecars);
    await using fleet = await openSidecarFleet(mesh, { services: size.sidecars, instancesPerService: 1 });
    context.note(`${fleet.sidecars.length} sidecars serve after ${fleet.startSeconds.toFixed(1)} s`);
    const sidecars = await calledSidecars(client, size.sidecars);

    await using stack = new AsyncDisposableStack();
    const hold = async (count: number, share: number): Promise<Holder[]> => {
      const holders: Holder[] = [];
      for (let turn = 0; turn < count; turn += 1)
        holders.push(stack.use(await openHolder(mesh, dealt(sidecars, turn, share), turn)));
      return holders;
    };
    const victims = await hold(size.revocations, (size.sidecars * (heldPerSidecar - 1)) / size.revocations);
    const bystanders = await hold(size.bystanders, size.sidecars / size.bystanders);
    for (const { connections } of bystanders) for (const connection of connections) connection.goOn(500);
    const held = [...victims, ...bystanders].reduce((sum, { connections }) => sum + connections.length, 0);
    context.note(`${held} connections are held`);

    // The fleet has written as the same person.
    await client.refresh();
    const seen: RevocationSeen[] = [];
    let answeredAnew = 0;
    for (const [place, victim] of victims.entries()) {
      const one = await revokeHolder(client, victim);
      seen.push(one);
      context.note(
        `revocation ${place + 1}: last connection closed after ${Math.max(...one.closedAfter).toFixed(0)} ms, ${one.receiptAfter.length} of ${one.known} receipts`,
      );
      const [sidecar] = dealt(sidecars, place, 1);
      if (sidecar !== undefined && (await isAnswered(victim, sidecar))) answeredAnew += 1;
    }
    return judge(seen, {
      answeredAnew,
      lost: bystanders
        .flatMap(({ connections }) => connections)
        .filter((one) => one.closedMillis() !== undefined).length,
      kept: bystanders.reduce((sum, { connections }) => sum + connections.length, 0),
      sidecars: sidecars.length,
      held,
    });
  },
};

/** Registers the services, the caller of all of them, and which of them speak TCP. */
async function prepare(client: OperatorClient, count: number): Promise<void> {
  const service = (name: string): Parameters<OperatorClient["append"]>[0][number] => ({
    kind: "service.put",
    body: { name, nodes: ["*"], dataClass: "internal", team: "", environment: "", labels: {} },
  });
  const names = Array.from({ length: count }, (_, number) => `/fleet/service-${number + 1}`);
  const rule = { from: "/fleet/holder", to: "/fleet/*", effect: "allow", methods: [], paths: [] };
  await client.append([
    service("/fleet/holder"),
    ...names.map(service),
    { kind: "rule.put", body: rule },
    ...names.filter(isTcp).map((name) => ({
      kind: "traffic.put" as const,
      body: { service: name, protocol: "tcp", routes: [] },
    })),
  ]);
}

function isTcp(name: string): boolean {
  return Number(name.split("-").at(-1)) % tcpEvery === 0;
}

async function calledSidecars(client: OperatorClient, count: number): Promise<CalledSidecar[]> {
  const { followers } = await client.admin.getStatus({});
  const sidecars = followers
    .filter(({ address }) => address !== "")
    .map(({ instance, service, address, outboundAddress }) => ({
      instance,
      service,
      address,
      outboundAddress,
      isTcp: isTcp(service),
    }));
  if (sidecars.length !== count) throw new Error(`${sidecars.length} of ${count} sidecars serve`);
  return sidecars;
}

/** `count` of the sidecars, beginning where the turn before ended. */
function dealt(sidecars: readonly CalledSidecar[], turn: number, count: number): CalledSidecar[] {
  return Array.from(
    { length: Math.round(count) },
    (_, place) => sidecars[(turn * Math.round(count) + place) % sidecars.length],
  ).filter((one) => one !== undefined);
}

function judge(
  seen: readonly RevocationSeen[],
  rest: {
    readonly answeredAnew: number;
    readonly lost: number;
    readonly kept: number;
    readonly sidecars: number;
    readonly held: number;
  },
): ReturnType<typeof ok> {
  const closed = seen.flatMap(({ closedAfter }) => closedAfter);
  const last = seen.map(({ closedAfter }) => Math.max(...closedAfter));
  const receipts = seen.flatMap(({ receiptAfter }) => receiptAfter);
  const after = seen.reduce((sum, { answersAfterReceipt }) => sum + answersAfterReceipt, 0);
  const open = seen.reduce((sum, one) => sum + one.open, 0);
  const missing = seen.filter(({ receiptAfter }) => receiptAfter.length < rest.sidecars).length;
  const figure =
    `${seen.length} revocations among ${rest.sidecars} sidecars with ${rest.held} connections (HTTP/1.1, link, WebSocket, TCP); ` +
    `command to last closed connection ${percentilesOf(last)}; each of ${closed.length} connections ${percentilesOf(closed)} [${histogramOf(closed)}]; ` +
    `receipts ${percentilesOf(receipts)}; ${after} answers after a receipt, ${open} open at the last one, ${rest.answeredAnew} new handshakes answered; ` +
    `others lost ${rest.lost} of ${rest.kept} connections`;
  const isCut = after + open + rest.answeredAnew + rest.lost + missing === 0;
  const isInTime = percentile(last, 0.99) <= p99MillisMax;
  return isCut && isInTime ? ok(figure) : failed(`${figure}; ${missing} revocations without all receipts`);
}

function percentile(millis: readonly number[], share: number): number {
  const sorted = millis.toSorted((left, right) => left - right);
  return sorted[Math.max(0, Math.ceil(sorted.length * share) - 1)] ?? 0;
}

function percentilesOf(millis: readonly number[]): string {
  const at = (share: number): string => percentile(millis, share).toFixed(0);
  return `p50 ${at(0.5)} ms, p99 ${at(0.99)} ms, max ${at(1)} ms`;
}

/** How many fell between these bounds: `<50: 12, <100: 30, …`. */
function histogramOf(millis: readonly number[]): string {
  const bounds = [25, 50, 100, 200, 400, 1_000, Number.POSITIVE_INFINITY];
  const counts = bounds.map(
    (bound, place) => millis.filter((one) => one < bound && one >= (bounds[place - 1] ?? 0)).length,
  );
  return bounds
    .map((bound, place) => `${bound === Number.POSITIVE_INFINITY ? ">=1000" : `<${bound}`}: ${counts[place]}`)
    .join(", ");
}
