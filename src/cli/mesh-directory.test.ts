import { chmod, mkdir, rm, stat, symlink } from "node:fs/promises";
import { dirname, join } from "node:path";
import { expect, it } from "vitest";
import { temporaryFolder } from "../../test/contracts/temporary-folder.ts";
import { makeMeshDirectory, meshDirectory } from "./mesh-directory.ts";

it("makes folders that other users cannot enter", async () => {
  await using folder = await temporaryFolder();
  const directory = meshDirectory(join(folder.path, "mesh"));

  await makeMeshDirectory(directory);

  for (const made of [directory.path, directory.agent, directory.logs, dirname(directory.agentSocket)])
    expect((await stat(made)).mode & 0o777).toBe(0o700);
});

it("uses no folder for the agent's socket that others may write to, or that somebody put a link in place of", async () => {
  await using folder = await temporaryFolder();
  const directory = meshDirectory(join(folder.path, "a-long-name".repeat(12)));
  const place = dirname(directory.agentSocket);
  expect(place.startsWith(directory.path)).toBe(false);
  try {
    await mkdir(place);
    await chmod(place, 0o777);
    await expect(makeMeshDirectory(directory)).rejects.toThrow(/may be written by others: remove it/);
    await rm(place, { recursive: true });
    await symlink(folder.path, place);
    await expect(makeMeshDirectory(directory)).rejects.toThrow(/is another user's or no folder/);
  } finally {
    await rm(place, { recursive: true, force: true });
  }
});
