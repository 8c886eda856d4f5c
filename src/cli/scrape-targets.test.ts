import { spawnSync } from "node:child_process";
import { mkdir, readdir, readFile, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { expect, it } from "vitest";
import { temporaryFolder } from "../../test/contracts/temporary-folder.ts";
import { meshDirectory } from "./mesh-directory.ts";
import { announceTarget, readTargets } from "./scrape-targets.ts";

const target = {
  process: "sidecar",
  address: "127.0.0.1:9000",
  service: "/shop/web",
  instance: "42c49327-21b8-4557-8e9e-e774b1895ceb",
} as const;

it("says where a process is, as Prometheus reads it, for as long as it runs", async () => {
  await using folder = await temporaryFolder();
  const directory = meshDirectory(folder.path);

  const announced = await announceTarget(directory, target);
  const text = await readFile(join(directory.targets, `sidecar.${process.pid}.json`), "utf8");
  const found = await readTargets(directory);
  await announced[Symbol.asyncDispose]();

  expect(JSON.parse(text)).toEqual([
    {
      targets: ["127.0.0.1:9000"],
      labels: { troth_process: "sidecar", troth_service: "/shop/web", troth_instance: target.instance },
    },
  ]);
  expect(found).toEqual([{ ...target, node: undefined }]);
  expect(await readTargets(directory)).toEqual([]);
});

it("forgets those that were killed, and leaves the files of others alone", async () => {
  await using folder = await temporaryFolder();
  const directory = meshDirectory(folder.path);
  const { pid } = spawnSync(process.execPath, ["--version"]);
  await mkdir(directory.targets, { recursive: true });
  await writeFile(join(directory.targets, `sidecar.${pid}.json`), "[]");
  await writeFile(join(directory.targets, `node-agent.${process.ppid}.json`), "not JSON");
  await writeFile(join(directory.targets, "mine.json"), "[]");

  const before = await readTargets(directory);
  await using _announced = await announceTarget(directory, target);

  expect(before).toEqual([]);
  expect((await readdir(directory.targets)).sort()).toEqual([
    "mine.json",
    `node-agent.${process.ppid}.json`,
    `sidecar.${process.pid}.json`,
  ]);
});

it("finds nothing where there is no mesh", async () => {
  await using folder = await temporaryFolder();

  expect(await readTargets(meshDirectory(join(folder.path, "none")))).toEqual([]);
});
