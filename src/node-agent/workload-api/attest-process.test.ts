import { spawn } from "node:child_process";
import { copyFile, rm } from "node:fs/promises";
import { join } from "node:path";
import { expect, it } from "vitest";
import { temporaryFolder } from "../../../test/contracts/temporary-folder.ts";
import { type CallerProcess, type LocalCaller, Procfs } from "../../peer-process/index.ts";
import { attestCaller } from "./attest-process.ts";
import { ExecutableHashes } from "./executable-hashes.ts";

const isLinux = process.platform === "linux";
const wanted = { sha256: true, kubernetes: false, containers: false };
const hashes = new ExecutableHashes();

function processOf(pid: number, procfs = new Procfs()): CallerProcess {
  const [stat, owner] = [procfs.stat(pid), procfs.owner(pid)];
  if (stat === undefined || owner === undefined) throw new Error("no such process");
  return { ...stat, ...owner, executable: procfs.executable(pid), parents: [] };
}

function callerOf(...processes: [CallerProcess, ...CallerProcess[]]): LocalCaller {
  return { uid: processes[0].uid, inode: 1, processes };
}

async function selectorsOf(caller: LocalCaller): Promise<readonly string[] | string> {
  const attested = await attestCaller(caller, wanted, { procfs: new Procfs(), hashes });
  return attested.ok ? [...attested.value] : attested.reason;
}

it.runIf(isLinux)("says whose a process is and what it runs", async () => {
  const selectors = await selectorsOf(callerOf(processOf(process.pid)));

  expect(selectors).toContain(`unix:uid:${process.getuid?.()}`);
  expect(selectors).toContain(`unix:gid:${process.getgid?.()}`);
  expect(selectors).toContain(`unix:path:${process.execPath}`);
  expect(selectors).toContainEqual(expect.stringMatching(/^unix:sha256:[0-9a-f]{64}$/));
});

it.runIf(isLinux)("says nothing of a number that means another process by now", async () => {
  const self = processOf(process.pid);

  expect(await selectorsOf(callerOf({ ...self, startedTicks: self.startedTicks - 1 }))).toBe("other-process");
  expect(await selectorsOf(callerOf({ ...self, uid: self.uid + 1 }))).toBe("other-process");
});

it.runIf(isLinux)(
  "says of several processes only what all are, and no path that leads elsewhere",
  async () => {
    await using folder = await temporaryFolder();
    const program = join(folder.path, "sleep");
    await copyFile("/bin/sleep", program);
    const child = spawn(program, ["60"]);
    try {
      await expect.poll(() => new Procfs().executable(child.pid ?? 0)).toBe(program);
      const other = processOf(child.pid ?? 0);

      const alone = await selectorsOf(callerOf(other));
      const both = await selectorsOf(callerOf(other, processOf(process.pid)));
      await rm(program);
      await copyFile("/bin/sleep", program);
      const replaced = await selectorsOf(callerOf(processOf(child.pid ?? 0)));

      expect(alone).toContain(`unix:path:${program}`);
      expect(both).toEqual(expect.not.arrayContaining([expect.stringMatching(/^unix:(path|sha256):/)]));
      expect(both).toContain(`unix:uid:${process.getuid?.()}`);
      expect(replaced).toEqual(expect.not.arrayContaining([expect.stringMatching(/^unix:path:/)]));
    } finally {
      child.kill("SIGKILL");
    }
  },
);

it.runIf(isLinux)("takes a pod's selectors only where all processes have them", async () => {
  const child = spawn("sleep", ["60"]);
  try {
    const caller = callerOf(processOf(process.pid), processOf(child.pid ?? 0));
    const kubernetes = async ({ pid }: CallerProcess): Promise<string[]> =>
      pid === process.pid ? ["k8s:ns:shop", "k8s:sa:payments"] : ["k8s:ns:shop"];
    const facts = { sha256: false, kubernetes: true, containers: false };

    const attested = await attestCaller(caller, facts, { procfs: new Procfs(), hashes, kubernetes });

    const selectors = attested.ok ? [...attested.value] : [];
    expect(selectors.filter((selector) => selector.startsWith("k8s:"))).toEqual(["k8s:ns:shop"]);
  } finally {
    child.kill("SIGKILL");
  }
});
