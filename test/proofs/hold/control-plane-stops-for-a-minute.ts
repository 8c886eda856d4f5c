import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { OperatorClient } from "../../../src/cli/operator-client.ts";
import { foldEntry, leafHash, MerkleTree, TrustState } from "../../../src/trust-log/index.ts";
import { CalmLoad } from "../../apparatus/calm-load.ts";
import { entriesOnDisk, statementsOf } from "../../apparatus/journal-entries.ts";
import { canSeeProcesses, signal } from "../../apparatus/marked-processes.ts";
import { type AskedOnce, openLoopLoad } from "../../apparatus/open-loop-load.ts";
import { openMesh, openService, processesOf, type RunningMesh, troth } from "../../apparatus/running-mesh.ts";
import { StatusClient } from "../../apparatus/status-client.ts";
import { type Claim, failed, ok, skipped } from "../claim.ts";

const requestsPerSecond = 500;
const outageSecondsFull = 60;
const outageSecondsShort = 30;
/** Certificates are renewed at about half of their life. This much longer than an outage, that half comes during it. */
const lifetimeShare = 2.07;
/** What is left of each certificate when the outage is over. */
const spareSeconds = 15;
const youngMillisMax = 90_000;
const backMillisMax = 30_000;
const pollMillis = 100;

/** Killed, so that what it held in memory is gone, and kept from coming back by stopping the process that would start it. */
export const claim: Claim = {
  text: "under 500 requests a second the control plane is away for 30 s (--full: a minute): no request fails; back again, its state is what it was, everybody connects by themselves, and certificates that were due are renewed",
  run: async (context) => {
    if (!canSeeProcesses()) return skipped("finding the processes takes procfs");
    const outageSeconds = context.isFull ? outageSecondsFull : outageSecondsShort;
    const lifetime = Math.round(outageSeconds * lifetimeShare);
    await using mesh = await openMesh({ kind: "up", args: ["--svid-lifetime", String(lifetime)] });
    using status = new StatusClient(mesh.directory);
    await using _callee = await openService(mesh, "/proof/callee");
    await using caller = await openService(mesh, "/proof/caller");
    const allowed = await troth(mesh.path, "allow", "/proof/caller", "/proof/callee");
    if (allowed.code !== 0) return failed(`troth allow: ${allowed.stderr}`);

    const calm = new CalmLoad();
    const failures: AskedOnce[] = [];
    let isOver = false;
    let startedMillis = Infinity;
    const outage = (async () => {
      try {
        await calm.untilCalm();
        await until(() => areYoung(status, outageSeconds + spareSeconds), youngMillisMax);
        startedMillis = performance.now();
        return await stopControlPlane(mesh, status, outageSeconds);
      } finally {
        isOver = true;
      }
    })();
    const loading = openLoopLoad({
      outboundAddress: caller.outboundAddress,
      host: "callee.proof.mesh",
      requestsPerSecond,
      growsSlowly: true,
      isOver: () => isOver,
      onEnd: (asked) => {
        calm.note(asked);
        if (asked.status !== 200 && asked.sentMillis > startedMillis) failures.push(asked);
      },
    });
    const [seen, load] = await Promise.all([outage, loading]);
    const figure =
      `${load.requests} requests, ${failures.length} failed, p99 ${load.millisP99.toFixed(1)} ms, max ${load.millisMax.toFixed(0)} ms; ` +
      `after the start of the control plane agent and sidecars had its news after ${seen.connectedSeconds.toFixed(1)} s, ` +
      `and the certificates that were due were renewed after ${seen.renewedSeconds.toFixed(1)} s; state ${seen.digestBefore.slice(0, 12)}`;
    if (failures.length > 0) return failed(`${figure}: ${failures[0]?.status} ${failures[0]?.body}`);
    if (seen.digestBefore !== seen.digestAfter || seen.epochDigest !== seen.epochDigestExpected)
      return failed(`the state is another one: ${JSON.stringify(seen)}`);
    return ok(figure);
  },
};

interface Outage {
  readonly digestBefore: string;
  readonly digestAfter: string;
  /** What the control plane itself says of its state in the first epoch after its start, and what it is. */
  readonly epochDigest: string;
  readonly epochDigestExpected: string;
  /** From the start of the control plane. */
  readonly connectedSeconds: number;
  readonly renewedSeconds: number;
}

async function stopControlPlane(mesh: RunningMesh, status: StatusClient, seconds: number): Promise<Outage> {
  const [pid] = processesOf(mesh, "control-plane");
  if (pid === undefined) throw new Error("there is no control plane process");
  const supervisor = mesh.command.pid;
  const had = await status.ask();
  signal(supervisor, "SIGSTOP");
  const { size, digest: digestBefore } = await readState(mesh);
  signal(pid, "SIGKILL");
  await sleep(seconds * 1000);
  signal(supervisor, "SIGCONT");
  const started = performance.now();
  const since = (): number => (performance.now() - started) / 1000;

  await until(async () => {
    const now = await status.ask();
    if (now === undefined || now.size <= size) return false;
    const sizes = [...now.nodes, ...now.followers].map((one) => one.size);
    return sizes.length === 3 && sizes.every((reached) => reached > size);
  });
  const connectedSeconds = since();
  await until(async () => {
    const now = await status.ask();
    return had?.followers.every(({ instance, certificateNotAfterSeconds: end }) =>
      now?.followers.some((one) => one.instance === instance && one.certificateNotAfterSeconds > end),
    );
  });
  const renewedSeconds = since();
  const epochIndex = (await statementsOf(mesh.directory.controlPlaneLog)).findIndex(
    ({ kind }, index) => kind === "epoch" && index >= size,
  );
  const { [epochIndex]: epoch } = await statementsOf(mesh.directory.controlPlaneLog);
  const committed = epoch?.body["stateDigest"];
  return {
    digestBefore,
    digestAfter: await digestAt(mesh, size),
    epochDigest: typeof committed === "string" ? committed : "none",
    epochDigestExpected: await digestAt(mesh, epochIndex),
    connectedSeconds,
    renewedSeconds,
  };
}

/** The state that a client computes from the log as it is served. */
async function readState(mesh: RunningMesh): Promise<{ readonly size: number; readonly digest: string }> {
  using client = await OperatorClient.open(mesh.directory);
  return { size: client.view.follower.size, digest: client.state.digest() };
}

/** The digest of the state after so many of the entries on disk. */
async function digestAt(mesh: RunningMesh, size: number): Promise<string> {
  const state = new TrustState();
  const entries = await entriesOnDisk(join(mesh.directory.controlPlaneLog, "segments"));
  const tree = new MerkleTree();
  for (const entry of entries.slice(0, size)) {
    foldEntry(state, tree, entry);
    tree.append(leafHash(entry));
  }
  return state.digest();
}

/** Whether all certificates are good for so long. */
async function areYoung(status: StatusClient, seconds: number): Promise<boolean | undefined> {
  const now = await status.ask();
  return now?.followers.every(
    ({ certificateNotAfterSeconds: end }) => Number(end) - Date.now() / 1000 > seconds,
  );
}

async function until(isSo: () => Promise<boolean | undefined>, timeoutMillis = backMillisMax): Promise<void> {
  const deadline = performance.now() + timeoutMillis;
  while ((await isSo()) !== true) {
    if (performance.now() > deadline)
      throw new Error(`it did not come about within ${timeoutMillis / 1000} s`);
    await sleep(pollMillis);
  }
}
