import { execFile } from "node:child_process";
import { join } from "node:path";
import { promisify } from "node:util";
import { installPythonPeer, missingForPythonPeer, type PythonPeer } from "../../apparatus/python-peer.ts";
import { runCommand } from "../../apparatus/running-command.ts";
import { repository } from "../../apparatus/running-mesh.ts";
import { foundWorkloadMesh, ownSelector, putWorkload } from "../../apparatus/workload-mesh.ts";
import { temporaryFolder } from "../../contracts/temporary-folder.ts";
import { type Claim, failed, ok, skipped } from "../claim.ts";

const peerName = "workload-api-python";
const id = "spiffe://test.example/shop/payments";
const svidLifetimeSeconds = 8;
const checkMillisMax = 120_000;
const modes = [
  /** Every call that gives anything. */
  { mode: "stranger", checks: 6 },
  /** Two wrong headers of each call and four other refusals; X.509 with a rotation, JWT, WIT. */
  { mode: "workload", checks: 18 + 7 + 6 + 3 },
] as const;

export const claim: Claim = {
  text: "a Python program with gRPC's C core and no library of SPIFFE makes all seven calls of the Workload API at a Unix socket and on loopback: what it gets verifies with other people's code, rotates on the open stream, and is refused in the standard's words",
  limitSeconds: 600,
  run: async () => {
    const missing = missingForPythonPeer();
    if (missing !== undefined) return skipped(missing);
    await using folder = await temporaryFolder();
    const peer = await installPythonPeer(peerName, folder.path);
    const descriptors = await writeDescriptors(folder.path);
    const python = await programOf(peer);
    const endpoints = [
      { kind: "unix" as const, path: join(folder.path, "workload.sock") },
      { kind: "tcp" as const, host: "127.0.0.1", port: 0 },
    ];
    await using mesh = await foundWorkloadMesh({ svidLifetimeSeconds, workloads: { endpoints } });
    // One that fits this process, of the same user, and not the Python program.
    await putWorkload(mesh, "node", { selectors: [ownSelector, `unix:path:${process.execPath}`] });
    let passed = 0;
    for (const { mode, checks } of modes) {
      if (mode === "workload")
        await putWorkload(mesh, "python", { selectors: [ownSelector, `unix:path:${python}`] });
      const seen = await Promise.all(
        mesh.agent.workloadAddresses.map((address) => ask(peer, [mode, descriptors, address, id], checks)),
      );
      const complaint = seen.find((one) => one.complaint !== undefined)?.complaint;
      if (complaint !== undefined) return failed(`${mode}: ${complaint}`);
      for (const one of seen) passed += one.passed;
    }
    return ok(`${passed} checks at ${endpoints.length} kinds of endpoint`);
  },
};

/** What is served, as a FileDescriptorSet, so that the program has no code of ours or generated from ours. */
async function writeDescriptors(folder: string): Promise<string> {
  const buf = `node_modules/@bufbuild/buf-${process.platform}-${process.arch}/bin/buf`;
  const file = join(folder, "workload.binpb");
  const args = ["build", "--exclude-source-info", "--path", "proto/spiffe/workload.proto", "-o", file];
  await promisify(execFile)(join(repository, buf), args, { cwd: repository });
  return file;
}

/** The path of the program that runs a peer's scripts, as the kernel tells it. */
async function programOf(peer: PythonPeer): Promise<string> {
  const [file = "", ...args] = peer.command("which_program.py");
  const { stdout } = await promisify(execFile)(file, args);
  return stdout.trim();
}

/** Has the program check everything in one way at one endpoint. */
async function ask(
  peer: PythonPeer,
  asked: readonly string[],
  checks: number,
): Promise<{ readonly passed: number; readonly complaint?: string }> {
  const [file = "", ...args] = peer.command("client.py", ...asked);
  const { code, stdout, stderr } = await runCommand(file, args, { timeoutMillis: checkMillisMax });
  const lines = stdout.trim().split("\n");
  const passed = lines.filter((line) => line.startsWith("ok ")).length;
  const wrong = lines.find((line) => !line.startsWith("ok "));
  if (wrong !== undefined) return { passed, complaint: `at ${asked[2]}: ${wrong}` };
  if (code === 0 && passed === checks) return { passed };
  return { passed, complaint: `at ${asked[2]}: ${passed} of ${checks} checks, then: ${stderr.slice(-400)}` };
}
