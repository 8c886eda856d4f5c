import net from "node:net";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { base64Of, sameBytes } from "../../../src/base/bytes.ts";
import { leafHash, MerkleTree, parseEntry } from "../../../src/trust-log/index.ts";
import { AppendingOperator } from "../../apparatus/appending-operator.ts";
import { entriesOnDisk } from "../../apparatus/journal-entries.ts";
import { canSeeProcesses, signal } from "../../apparatus/marked-processes.ts";
import { openMesh, processesOf, type RunningMesh, troth } from "../../apparatus/running-mesh.ts";
import { type Claim, failed, ok, skipped } from "../claim.ts";

const appendsPerRound = 1_000;
const operatorsMax = 8;
const rounds = 10;
/** After so many appends one of the operators reads and checks the whole log anew. */
const lookEvery = 50;

/** Eight operators append at once; in each round, at a moment drawn by lot, the process is killed and comes back. */
export const claim: Claim = {
  text: "kill -9 of the control plane in the middle of 1,000 appends, ten times: every acknowledged one is in the log at its place, the log verifies, no index or sequence number is used twice",
  limitSeconds: 600,
  run: async (context) => {
    if (!canSeeProcesses()) return skipped("finding the process takes procfs");
    await using mesh = await openMesh({ kind: "up" });
    const founder = await AppendingOperator.founder(mesh);
    const operators: AppendingOperator[] = [];
    for (let number = 1; number <= operatorsMax; number += 1)
      operators.push(await founder.admit(`number-${number}`));
    using closing = new DisposableStack();
    for (const operator of [founder, ...operators]) closing.defer(() => operator.close());

    const outages: number[] = [];
    for (let round = 1; round <= rounds; round += 1) {
      outages.push(await appendThroughAKill(mesh, operators, round));
      context.note(`round ${round} of ${rounds} done`);
    }
    for (const operator of operators) await operator.refresh();
    const verified = await troth(mesh.path, "log", "verify", "-o", "json");
    await mesh.command[Symbol.asyncDispose]();
    const offline = await troth(mesh.path, "log", "verify", "-o", "json");
    if (verified.code !== 0 || offline.code !== 0)
      return failed(`troth log verify ended with ${verified.code} and ${offline.code}: ${offline.stdout}`);

    const problems = await compare(mesh, [founder, ...operators]);
    if (problems.length > 0) return failed(problems.slice(0, 3).join("; "));
    const acknowledged = operators.reduce((sum, operator) => sum + operator.acknowledged.length, 0);
    const unanswered = operators.reduce((sum, operator) => sum + operator.unanswered.length, 0);
    return ok(
      `${acknowledged} appends acknowledged over ${rounds} kills, all in their place; ${unanswered} were cut off unanswered; ` +
        `the control plane was back after at most ${Math.max(...outages).toFixed(0)} ms`,
    );
  },
};

/** Appends 1,000 entries, kills the control plane on the way, and says for how long it was away, in milliseconds. */
async function appendThroughAKill(
  mesh: RunningMesh,
  operators: readonly AppendingOperator[],
  round: number,
): Promise<number> {
  const killAfter = Math.floor(appendsPerRound * (0.2 + Math.random() * 0.6));
  let left = appendsPerRound;
  let done = 0;
  const killed = Promise.withResolvers<number>();
  const work = async (operator: AppendingOperator, worker: number): Promise<void> => {
    for (; left > 0; ) {
      left -= 1;
      const from = `/proof/round-${round}/worker-${worker}`;
      await operator.append("rule.put", {
        from,
        to: `/proof/target-${left}`,
        effect: "allow",
        methods: [],
        paths: [],
      });
      done += 1;
      if (done % lookEvery === 0) await operator.refresh();
      if (done === killAfter) killed.resolve(kill(mesh));
    }
  };
  await Promise.all(operators.map(work));
  return killed.promise;
}

/** Kills the process and waits until the next one takes connections. */
async function kill(mesh: RunningMesh): Promise<number> {
  const [pid] = processesOf(mesh, "control-plane");
  if (pid === undefined) throw new Error("no control plane to kill");
  const started = performance.now();
  signal(pid, "SIGKILL");
  // The dead process's socket may take a connection for a moment longer.
  const isNew = (): boolean => processesOf(mesh, "control-plane").some((other) => other !== pid);
  while (!isNew() || !(await isListening(mesh.domain.address))) await sleep(10);
  return performance.now() - started;
}

function isListening(address: string): Promise<boolean> {
  const [host, port] = address.split(":");
  return new Promise((resolve) => {
    const socket = net.connect({ host, port: Number(port) });
    socket.once("connect", () => {
      socket.destroy();
      resolve(true);
    });
    socket.once("error", () => resolve(false));
  });
}

/** What on disk is not as it was acknowledged or seen. */
async function compare(mesh: RunningMesh, operators: readonly AppendingOperator[]): Promise<string[]> {
  const entries = await entriesOnDisk(join(mesh.directory.controlPlaneLog, "segments"));
  const problems: string[] = [];
  const places = new Map<string, number>();
  const sequences = new Set<string>();
  const tree = new MerkleTree();
  for (const [index, entry] of entries.entries()) {
    const leaf = leafHash(entry);
    tree.append(leaf);
    if (places.has(base64Of(leaf)))
      problems.push(`entry ${index} is entry ${places.get(base64Of(leaf))} again`);
    places.set(base64Of(leaf), index);
    const parsed = parseEntry(entry);
    if (!parsed.ok) {
      problems.push(`entry ${index}: ${parsed.detail}`);
      continue;
    }
    const { author, sequence } = parsed.value.statement;
    const key = `${author} ${sequence}`;
    if (sequences.has(key)) problems.push(`entry ${index}: ${key} is used twice`);
    sequences.add(key);
  }
  for (const operator of operators) {
    for (const { leaf, size } of operator.acknowledged) {
      const place = places.get(leaf);
      if (place === undefined) problems.push(`an append acknowledged at size ${size} is lost`);
      else if (place >= size) problems.push(`an append acknowledged at size ${size} is entry ${place}`);
    }
    for (const { size, root } of operator.seen)
      if (size > tree.size || !sameBytes(tree.root(size), root))
        problems.push(`the tree of ${size} entries is not the one that was signed`);
  }
  return problems;
}
