import { chmod, mkdir, readdir, readFile, readlink, stat, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { afterEach, beforeEach, expect, it } from "vitest";
import { type TemporaryFolder, temporaryFolder } from "../../test/contracts/temporary-folder.ts";
import { ExportFolder } from "./export-folder.ts";

let folder: TemporaryFolder;
let path: string;

beforeEach(async () => {
  folder = await temporaryFolder();
  path = join(folder.path, "out");
});

afterEach(() => folder[Symbol.asyncDispose]());

it("keeps certificate, key and bundle for this user alone", async () => {
  await using out = await ExportFolder.open(path);
  await out.write(credentials("a"));

  const modes = await Promise.all(
    ["", "current/", "svid.pem", "svid.pem.key", "bundle.pem"].map(
      async (name) => (await stat(join(path, name))).mode & 0o777,
    ),
  );
  expect(modes).toEqual([0o700, 0o700, 0o600, 0o600, 0o600]);
  expect(await read()).toEqual(["chain a", "key a", "bundle a"]);
});

it("has a bundle for each federated trust domain, and none of one that is no more", async () => {
  await using out = await ExportFolder.open(path);
  await out.write({ ...credentials("a"), federated: new Map([["gone.example", "gone"]]) });
  await out.write(credentials("b"));

  expect(await readdir(join(path, "federated"))).toEqual(["bank.example.pem"]);
  expect(await readFile(join(path, "federated", "bank.example.pem"), "utf8")).toBe("bank b");
});

it("never shows the key of another certificate to one who reads through the same link", async () => {
  await using out = await ExportFolder.open(path);
  await out.write(credentials("a"));
  const writing = new AbortController();
  const mixed: string[][] = [];
  const reading = (async () => {
    while (!writing.signal.aborted) {
      // A program opens the folder that the link leads to, and then what is in it.
      const name = await readlink(join(path, "current"));
      const texts = await Promise.all(
        ["svid.pem", "svid.pem.key"].map((file) => readFile(join(path, name, file), "utf8")),
      );
      if (texts[0]?.slice(-1) !== texts[1]?.slice(-1)) mixed.push(texts);
    }
  })();
  for (let round = 0; round < 20; round += 1) await out.write(credentials(round % 2 === 0 ? "b" : "a"));
  writing.abort();
  await reading;

  expect(mixed).toEqual([]);
});

it("leaves no key behind: of those before all but one, and at its end none", async () => {
  {
    await using out = await ExportFolder.open(path);
    for (const name of ["a", "b", "c"]) await out.write(credentials(name));
    expect((await readdir(path)).filter((name) => name.startsWith("svid-"))).toHaveLength(2);
  }

  expect((await readdir(path)).filter((name) => name !== "writer-lock")).toEqual([]);
});

it("takes over what an export left that was killed", async () => {
  await mkdir(join(path, "svid-aa-1"), { recursive: true, mode: 0o700 });
  await chmod(path, 0o700);
  await using out = await ExportFolder.open(path);
  await out.write(credentials("b"));

  expect(await readdir(path)).not.toContain("svid-aa-1");
  expect(await read()).toEqual(["chain b", "key b", "bundle b"]);
});

it("puts no key where others can read it, nor over a file that is not its own", async () => {
  await mkdir(path);
  await chmod(path, 0o755);
  await expect(ExportFolder.open(path)).rejects.toThrow(/open to other users.*chmod 700/);

  await chmod(path, 0o700);
  await writeFile(join(path, "svid.pem"), "mine");
  await using out = await ExportFolder.open(path);
  await expect(out.write(credentials("a"))).rejects.toThrow(/svid\.pem is in the way/);
});

function credentials(name: string) {
  return {
    chainPem: `chain ${name}`,
    privateKeyPem: `key ${name}`,
    bundlePem: `bundle ${name}`,
    crlPem: `lists ${name}`,
    federated: new Map([["bank.example", `bank ${name}`]]),
    serial: "0a",
  };
}

function read(): Promise<string[]> {
  return Promise.all(
    ["svid.pem", "svid.pem.key", "bundle.pem"].map((file) => readFile(join(path, file), "utf8")),
  );
}
