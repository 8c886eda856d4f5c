import { execFileSync, spawn } from "node:child_process";
import { chmod, mkdir, symlink, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { expect, it } from "vitest";
import { temporaryFolder } from "../../../test/contracts/temporary-folder.ts";
import { readInProcess } from "./read-in-process.ts";

const isLinux = process.platform === "linux";
const self = { pid: process.pid, uid: process.getuid?.() ?? 0, gid: process.getgid?.() ?? 0, groups: [] };
const stranger = { ...self, uid: 64_000, gid: 64_000 };

it.runIf(isLinux)(
  "reads a token as Kubernetes lays it out, by links that are relative or from the root",
  async () => {
    await using folder = await temporaryFolder();
    const at = (...parts: string[]): string => join(folder.path, ...parts);
    await mkdir(at("run/account/..2026"), { recursive: true });
    await writeFile(at("run/account/..2026/token"), "a token");
    await symlink("..2026", at("run/account/..data"));
    await symlink("..data/token", at("run/account/token"));
    await symlink(at("run"), at("absolute"));
    await symlink("absolute/account/../account", at("relative"));

    expect(await readInProcess(self, at("run/account/token"), 7)).toBe("a token");
    expect(await readInProcess(self, at("relative/token"), 7)).toBe("a token");
    expect(await readInProcess(self, at("run/account/token"), 6)).toBeUndefined();
  },
);

it.runIf(isLinux)("takes no folder, pipe, device, endless link or file that is not there", async () => {
  await using folder = await temporaryFolder();
  const at = (name: string): string => join(folder.path, name);
  execFileSync("mkfifo", [at("pipe")]);
  await symlink("endless", at("endless"));
  await writeFile(at("file"), "text");

  const paths = [folder.path, at("pipe"), "/dev/zero", at("endless"), at("none"), at("file/token"), "/"];
  const read = await Promise.all(paths.map((path) => readInProcess(self, path, 100)));

  expect(read).toEqual(paths.map(() => undefined));
});

it.runIf(isLinux)("takes nothing that the process could not read itself", async () => {
  await using folder = await temporaryFolder();
  const path = join(folder.path, "token");
  await writeFile(path, "a token");

  await chmod(path, 0o600);
  const closed = await readInProcess(stranger, path, 100);
  await chmod(path, 0o640);
  const ofGroup = await readInProcess({ ...stranger, groups: [self.gid] }, path, 100);
  const ofOthers = await readInProcess(stranger, path, 100);
  await chmod(path, 0o644);

  expect([closed, ofGroup, ofOthers]).toEqual([undefined, "a token", undefined]);
  expect(await readInProcess(stranger, path, 100)).toBe("a token");
});

const canChangeRoot = isLinux && process.getuid?.() === 0;

it.runIf(canChangeRoot)(
  "finds no file of this machine by the links of a process with another root",
  async () => {
    await using folder = await temporaryFolder();
    const root = join(folder.path, "root");
    await mkdir(root);
    await writeFile(join(folder.path, "secret"), "outside");
    await writeFile(join(root, "inside"), "inside");
    await symlink("../secret", join(root, "up"));
    await symlink(join(folder.path, "secret"), join(root, "absolute"));
    await symlink("/../inside", join(root, "within"));
    const program = "import os,sys,time; os.chroot(sys.argv[1]); time.sleep(60)";
    const child = spawn("python3", ["-c", program, root]);
    try {
      const other = { ...self, pid: child.pid ?? 0 };
      await expect.poll(() => readInProcess(other, "/inside", 100)).toBe("inside");

      expect(await readInProcess(other, "/within", 100)).toBe("inside");
      expect(await readInProcess(other, "/up", 100)).toBeUndefined();
      expect(await readInProcess(other, "/absolute", 100)).toBeUndefined();
      expect(await readInProcess(self, join(root, "absolute"), 100)).toBe("outside");
    } finally {
      child.kill("SIGKILL");
    }
  },
);
