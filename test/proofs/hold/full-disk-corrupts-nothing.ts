import { spawnSync } from "node:child_process";
import { mkdir, rm, statfs, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { checkOf } from "../../apparatus/check-report.ts";
import { httpCall } from "../../apparatus/http-call.ts";
import { entriesOnDisk } from "../../apparatus/journal-entries.ts";
import { openMesh, openService, statusOf, troth } from "../../apparatus/running-mesh.ts";
import { temporaryFolder } from "../../contracts/temporary-folder.ts";
import { type Claim, failed, ok, skipped } from "../claim.ts";

const diskMebibytes = 8;
const attempts = 6;
const backMillisMax = 60_000;
const nothing = new Uint8Array(0);

/** A file system of its own, filled to the last block while a mesh works on it. */
export const claim: Claim = {
  text: "on a full disk writes are refused with the reason, troth check says so, nothing acknowledged is lost, and all goes on by itself when there is room",
  run: async () => {
    await using folder = await temporaryFolder();
    const path = join(folder.path, "disk");
    await mkdir(path);
    const mounted = spawnSync("mount", [
      "-t",
      "tmpfs",
      "-o",
      `size=${diskMebibytes}m,mode=700`,
      "tmpfs",
      path,
    ]);
    if (mounted.status !== 0)
      return skipped(`cannot mount a small file system: ${String(mounted.stderr).trim()}`);
    await using stack = new AsyncDisposableStack();
    stack.defer(() => void spawnSync("umount", ["-l", path]));
    const mesh = stack.use(await openMesh({ kind: "up", path }));
    const callee = stack.use(await openService(mesh, "/proof/callee"));
    const caller = stack.use(await openService(mesh, "/proof/caller"));
    const allow = (to: string): ReturnType<typeof troth> => troth(path, "allow", "/proof/caller", to);
    const ask = async (): Promise<number> =>
      (await httpCall({ address: caller.outboundAddress, host: "callee.proof.mesh", path: "/" })).status;
    if ((await allow(callee.status.service)).code !== 0) return failed("troth allow before");
    const acknowledged = (await statusOf(path)).treeSize;
    const segments = join(path, "control-plane", "log", "segments");
    const before = (await entriesOnDisk(segments)).slice(0, acknowledged);

    await fill(join(path, "filler"));
    const refused = await refusals(() => troth(path, "allow", "/proof/callee", "/proof/caller"));
    if (refused === undefined) return failed("every write was taken on a full disk");
    if (!/no room|could not be written/.test(refused)) return failed(`the refusal says "${refused}"`);
    const { lines } = await checkOf(path);
    const named = lines.find(
      ({ hint, result }) => hint?.endsWith("#disk-space") === true && result === "error",
    );
    if (named === undefined) return failed("troth check does not name the full disk");

    await rm(join(path, "filler"));
    const started = performance.now();
    while ((await allow("/proof/caller")).code !== 0 || (await ask()) !== 200) {
      if (performance.now() - started > backMillisMax) return failed("it does not go on after there is room");
      await sleep(500);
    }
    const backSeconds = (performance.now() - started) / 1000;
    const verified = await troth(path, "log", "verify");
    const size = (await statusOf(path)).treeSize;
    if (verified.code !== 0) return failed(`troth log verify: ${verified.stdout}`);
    const after = await entriesOnDisk(segments);
    const kept = before.filter((entry, index) => Buffer.compare(entry, after[index] ?? nothing) === 0).length;
    if (kept < acknowledged) return failed(`of ${acknowledged} entries acknowledged ${kept} are there`);
    return ok(
      `refused with "${refused}"; check: "${named.error}"; at work again ${backSeconds.toFixed(1)} s after there was room; all ${kept} entries acknowledged before are there, and ${size - kept} more; verified`,
    );
  },
};

/** Until not one byte more goes in. */
async function fill(path: string): Promise<void> {
  for (let part = 0; part < 64; part += 1) {
    const { bavail, bsize } = await statfs(join(path, ".."));
    if (bavail === 0) return;
    await writeFile(path, Buffer.alloc(Math.min(bavail * bsize, 1024 * 1024)), { flag: "a" }).catch(() => {});
  }
}

/** What the first refusal says. What was refused may be in the log all the same once there is room: it was not acknowledged. */
async function refusals(write: () => ReturnType<typeof troth>): Promise<string | undefined> {
  for (let attempt = 0; attempt < attempts; attempt += 1) {
    const { code, stderr } = await write();
    if (code !== 0) return stderr.trim();
  }
  return undefined;
}
