import { execFile, spawn } from "node:child_process";
import { createInterface } from "node:readline";
import { setTimeout as sleep } from "node:timers/promises";
import { promisify } from "node:util";
import { buildGoPeer, missingForGoPeer } from "../../apparatus/go-peer.ts";
import { RunningCommand } from "../../apparatus/running-command.ts";
import { foundWorkloadMesh, putWorkload, workloadAddress } from "../../apparatus/workload-mesh.ts";
import { temporaryFolder } from "../../contracts/temporary-folder.ts";
import { type Claim, failed, ok, skipped } from "../claim.ts";

const peer = "spiffe-client";
const id = "spiffe://test.example/shop/payments";
const svidLifetimeSeconds = 8;
const waitMillis = 20_000;

export const claim: Claim = {
  text: "a Go program with SPIFFE's own library, unmodified, gets X.509-SVIDs and JWT-SVIDs from the agent at both kinds of endpoint, sees each rotation, and serves and calls over mutual TLS with them through rotations",
  limitSeconds: 600,
  run: async ({ isFull }) => {
    const missing = missingForGoPeer(peer);
    if (missing !== undefined) return skipped(missing);
    await using folder = await temporaryFolder();
    const program = await buildGoPeer(peer, folder.path);
    const endpoints = [
      { kind: "tcp" as const, host: "127.0.0.1", port: 0 },
      { kind: "unix" as const, path: `${folder.path}/workload.sock` },
    ];
    await using mesh = await foundWorkloadMesh({ svidLifetimeSeconds, workloads: { endpoints } });
    await putWorkload(mesh, "payments", { selectors: [`unix:path:${program}`] });
    const env = { ...process.env, SPIFFE_ENDPOINT_SOCKET: workloadAddress(mesh) };
    const unix = { SPIFFE_ENDPOINT_SOCKET: mesh.agent.workloadAddresses[1] ?? "" };

    await using watching = new RunningCommand(program, ["watch"], { env: unix });
    const { stdout: tokens } = await promisify(execFile)(program, ["jwt"], { env, timeout: waitMillis });
    if (tokens !== `jwt ${id} refusedForOthers=true\n`) return failed(`JWT-SVIDs: ${tokens}`);

    const calls = await callThroughRotations(program, env, isFull ? 60 : 12);
    if (calls.problem !== undefined) return failed(calls.problem);
    if (calls.serials < 2) return failed(`mutual TLS went on under ${calls.serials} certificate`);
    const updates = watching.stdout.match(/^update .*$/gm) ?? [];
    const serials = new Set(updates.map((line) => line.split(" ")[2]));
    if (serials.size < 2 || updates.some((line) => line.split(" ")[1] !== id))
      return failed(`the watcher saw: ${watching.stdout.slice(-400)} ${watching.tail()}`);
    return ok(
      `${calls.count} calls over mutual TLS under ${calls.serials} certificates, strangers refused each time; the watcher saw ${serials.size} certificates in ${updates.length} updates; a JWT-SVID was checked by its library and by the agent`,
    );
  },
};

/** Has the program call itself on a new connection, again and again, for some seconds. */
async function callThroughRotations(
  program: string,
  env: NodeJS.ProcessEnv,
  seconds: number,
): Promise<{ readonly count: number; readonly serials: number; readonly problem?: string }> {
  const child = spawn(program, ["mtls"], { env });
  let errors = "";
  child.stderr.on("data", (chunk: Buffer) => {
    errors += chunk.toString("utf8");
  });
  const lines = createInterface({ input: child.stdout })[Symbol.asyncIterator]();
  const serials = new Set<string>();
  let count = 0;
  try {
    const serving = await lines.next();
    if (serving.value !== `serving ${id}`)
      return { count, serials: 0, problem: `it says ${serving.value} ${errors}` };
    const end = performance.now() + seconds * 1_000;
    while (performance.now() < end) {
      child.stdin.write("\n");
      const line = await lines.next();
      const [, serial, stranger] = /^called (\w+) strangerRefused=(\w+)$/.exec(String(line.value)) ?? [];
      if (serial === undefined || stranger !== "true")
        return { count, serials: serials.size, problem: `a call: ${line.value} ${errors}` };
      serials.add(serial);
      count += 1;
      await sleep(100);
    }
    return { count, serials: serials.size };
  } finally {
    child.kill("SIGKILL");
  }
}
