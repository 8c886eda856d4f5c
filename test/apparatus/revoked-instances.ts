import type { OperatorClient } from "../../src/cli/operator-client.ts";
import { type GrantedSvid, obtainSvid } from "./granted-svid.ts";
import { type HeldConnection, type HeldKind, holdConnection } from "./held-connection.ts";
import type { RunningMesh } from "./running-mesh.ts";

const receiptMillisMax = 20_000;
const settleMillis = 1_000;
const httpKinds: readonly HeldKind[] = ["http1", "link", "websocket"];

/** A sidecar that others call. */
export interface CalledSidecar {
  readonly instance: string;
  readonly service: string;
  readonly address: string;
  readonly outboundAddress: string;
  readonly isTcp: boolean;
}

/** An instance that holds connections to sidecars. */
export interface Holder extends AsyncDisposable {
  readonly granted: GrantedSvid;
  readonly connections: readonly HeldConnection[];
}

/** What came of one revocation. */
export interface RevocationSeen {
  /** From the command to the end of each connection, in milliseconds. */
  readonly closedAfter: readonly number[];
  /** From the command to each receipt. */
  readonly receiptAfter: readonly number[];
  /** Answers that came from a proxy after its receipt had. */
  readonly answersAfterReceipt: number;
  /** Connections that were still open when the last receipt came. */
  readonly open: number;
  readonly known: number;
}

/** Registers an instance and has it hold one connection to each of these sidecars, of the kinds in turn. */
export async function openHolder(
  mesh: RunningMesh,
  sidecars: readonly CalledSidecar[],
  turn: number,
): Promise<Holder> {
  await using stack = new AsyncDisposableStack();
  const granted = stack.use(await obtainSvid(mesh, "/fleet/holder"));
  const connections: HeldConnection[] = [];
  for (const [place, sidecar] of sidecars.entries()) {
    const kind = sidecar.isTcp ? "tcp" : (httpKinds[(place + turn) % httpKinds.length] ?? "http1");
    connections.push(stack.use(await holdConnection(kind, sidecar, granted.credentials)));
  }
  const opened = stack.move();
  return { granted, connections, [Symbol.asyncDispose]: () => opened.disposeAsync() };
}

/** Revokes an instance whose connections are asking all the time, and watches what becomes of them. */
export async function revokeHolder(client: OperatorClient, holder: Holder): Promise<RevocationSeen> {
  const { granted, connections } = holder;
  for (const connection of connections) connection.goOn(25);
  await new Promise((resolve) => setTimeout(resolve, settleMillis));
  const body = { instance: granted.instance, reason: "key-compromise" };
  const startedMillis = performance.now();
  const { size } = await client.append([{ kind: "instance.revoke", body }]);
  const receipts = new Map<string, number>();
  const progress = await client.waitForProxies(size, receiptMillisMax, ({ now }) => {
    for (const { instance } of now) receipts.set(instance, performance.now());
  });
  const open = connections.filter(({ closedMillis }) => closedMillis() === undefined).length;
  // What a proxy still answered would be here by then.
  await new Promise((resolve) => setTimeout(resolve, settleMillis));
  const closedAfter = connections.map(
    ({ closedMillis }) => (closedMillis() ?? Number.POSITIVE_INFINITY) - startedMillis,
  );
  const answersAfterReceipt = connections.filter(
    ({ to, answeredMillis }) => answeredMillis() > (receipts.get(to) ?? Number.POSITIVE_INFINITY),
  ).length;
  const receiptAfter = [...receipts.values()].map((millis) => millis - startedMillis);
  return { closedAfter, receiptAfter, answersAfterReceipt, open, known: progress.known };
}

/** Whether a sidecar still answers who has these papers, on a connection of its own. */
export async function isAnswered({ granted }: Holder, sidecar: CalledSidecar): Promise<boolean> {
  try {
    using _connection = await holdConnection("http1", sidecar, granted.credentials);
    return true;
  } catch {
    return false;
  }
}
