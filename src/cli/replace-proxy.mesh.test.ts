import { cpSync, readFileSync, symlinkSync, writeFileSync } from "node:fs";
import http from "node:http";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { afterAll, beforeAll, expect, it } from "vitest";
import { z } from "zod";
import { httpCall } from "../../test/apparatus/http-call.ts";
import { openStream } from "../../test/apparatus/lasting-call.ts";
import { RunningCommand } from "../../test/apparatus/running-command.ts";
import {
  apparatus,
  openMesh,
  openService,
  type RunningMesh,
  type RunningService,
  repository,
  servingInstance,
  statusOf,
  troth,
} from "../../test/apparatus/running-mesh.ts";
import { temporaryFolder } from "../../test/contracts/temporary-folder.ts";
import { freePort } from "./free-port.ts";

const open = new AsyncDisposableStack();
let mesh: RunningMesh;
let callee: RunningService;
/** host:port where the caller, which is run from a copy of the program, calls others. */
let outboundAddress: string;
let copy: string;

beforeAll(async () => {
  mesh = open.use(await openMesh({ kind: "up" }));
  callee = open.use(await openService(mesh, "/test/callee"));
  copy = open.use(await temporaryFolder()).path;
  cpSync(join(repository, "src"), join(copy, "src"), { recursive: true });
  cpSync(join(repository, "package.json"), join(copy, "package.json"));
  symlinkSync(join(repository, "node_modules"), join(copy, "node_modules"));
  const port = await freePort();
  outboundAddress = `127.0.0.1:${port}`;
  const args = [
    "--dir",
    mesh.path,
    "run",
    "--service",
    "/test/caller",
    "--outbound-port",
    String(port),
    "--",
  ];
  open.use(new RunningCommand(process.execPath, [program(), ...args, ...apparatus("small-app.ts")], {}));
  await servingInstance(mesh.path, "/test/caller");
  await troth(mesh.path, "allow", "/test/caller", "/test/callee");
}, 120_000);
afterAll(() => open.disposeAsync(), 60_000);

const program = (): string => join(copy, "src", "cli", "main.ts");
const reportSchema = z.object({ items: z.array(z.object({ before: z.string(), after: z.string() })) });

/** Asks over connections that are kept, until what it returns is called; answers with the statuses that were not 200. */
function keepAsking(): () => Promise<{ readonly asked: number; readonly failed: readonly string[] }> {
  const agent = new http.Agent({ keepAlive: true, maxSockets: 4 });
  const failed: string[] = [];
  let asked = 0;
  const over = new AbortController();
  const askers = Array.from({ length: 4 }, async () => {
    while (!over.signal.aborted) {
      const { status, body } = await httpCall({
        address: outboundAddress,
        host: "callee.test.mesh",
        path: "/",
        timeoutMillis: 10_000,
        agent,
      });
      asked += 1;
      if (status !== 200) failed.push(`${status} ${body}`);
      await sleep(2);
    }
  });
  return async () => {
    over.abort();
    await Promise.all(askers);
    agent.destroy();
    return { asked, failed };
  };
}

it("replaces the sidecar of either side, under load, without a failed request", async () => {
  const stop = keepAsking();

  for (const service of ["/test/callee", "/test/caller", "/test/callee"]) {
    const { code, stdout, stderr } = await troth(mesh.path, "proxy", "replace", service, "-o", "json");
    expect([code, stderr]).toEqual([0, ""]);
    const [item] = reportSchema.parse(JSON.parse(stdout)).items;
    expect(item?.after).not.toBe(item?.before);
  }
  await sleep(1_500);

  const { asked, failed } = await stop();
  expect(failed).toEqual([]);
  expect(asked).toBeGreaterThan(100);
}, 60_000);

it("shows both while the old one ends what it has, and then the new one alone", async () => {
  const agent = new http.Agent({ keepAlive: true });
  const call = {
    address: outboundAddress,
    host: "callee.test.mesh",
    path: "/",
    timeoutMillis: 10_000,
    agent,
  };
  await httpCall(call);
  // One that was replaced before may still be ending.
  while ((await statesOfCaller()).length > 1) await sleep(100);

  const replaced = await troth(mesh.path, "proxy", "replace", "/test/caller", "-o", "json");
  const [item] = reportSchema.parse(JSON.parse(replaced.stdout)).items;
  const both = await statesOfCaller();
  await httpCall(call);
  while ((await statesOfCaller()).length > 1) await sleep(100);

  const others = both.map(({ state }) => state).filter((state) => state !== "draining");
  expect(both).toHaveLength(2);
  expect(others).toEqual([expect.stringMatching(/synced|behind/)]);
  expect(both.find(({ state }) => state === "draining")?.instance).toBe(item?.before);
  expect((await statesOfCaller()).map(({ instance }) => instance)).toEqual([item?.after]);
  agent.destroy();
}, 60_000);

it("runs what is on disk then: what does not start leaves the old one, what is newer shows its version", async () => {
  const good = readFileSync(program(), "utf8");
  const version = join(copy, "src", "base", "software-version.ts");
  const before = await servingInstance(mesh.path, "/test/caller");

  writeFileSync(program(), 'throw new Error("half of an upgrade");\n');
  const refused = await troth(mesh.path, "proxy", "replace", "/test/caller");
  writeFileSync(program(), good);

  expect(refused.code).toBe(1);
  expect(refused.stderr).toMatch(
    /sidecar of \/test\/caller: it ended with 1; see .*sidecar\.test\.caller\.log/,
  );
  expect((await servingInstance(mesh.path, "/test/caller")).instance).toBe(before.instance);

  writeFileSync(version, readFileSync(version, "utf8").replace('"0.1.0"', '"0.1.1"'));
  const replaced = await troth(mesh.path, "proxy", "replace", "/test/caller");

  expect(replaced).toMatchObject({ code: 0, stderr: "" });
  const versions = (await statesOfCaller()).map(({ softwareVersion }) => softwareVersion);
  expect(versions).toContain("0.1.1");
}, 60_000);

it("replaces at SIGUSR2 too", async () => {
  const before = await servingInstance(mesh.path, "/test/callee");

  process.kill(callee.command.pid, "SIGUSR2");
  while (!callee.command.stderr.includes("troth: the sidecar of /test/callee was replaced\n"))
    await sleep(50);

  const { instances } = await statusOf(mesh.path);
  const serving = instances.filter(({ service, isServing }) => service === "/test/callee" && isServing);
  expect(serving.map(({ instance }) => instance)).not.toContain(before.instance);
}, 60_000);

it("answers what was asked before troth run is told to end, whose application breaks off all it has", async () => {
  const ending = await openService(mesh, "/test/ending", { command: apparatus("lasting-app.ts") });
  await troth(mesh.path, "allow", "/test/caller", "/test/ending");
  const ask = (path: string) =>
    httpCall({ address: outboundAddress, host: "ending.test.mesh", path, timeoutMillis: 10_000 });
  while ((await ask("/")).status !== 200) await sleep(50);

  const asked = ask("/slow");
  await sleep(300);
  process.kill(ending.command.pid, "SIGTERM");

  expect(await asked).toMatchObject({ status: 200 });
  await ending[Symbol.asyncDispose]();
}, 60_000);

it("lists the versions of everything", async () => {
  const { code, stdout } = await troth(mesh.path, "version", "-o", "json");

  expect(code).toBe(0);
  const { items } = versionsSchema.parse(JSON.parse(stdout));
  const names = items.map((row) => `${row.process} ${row.softwareVersion}`);
  expect(names).toEqual(
    expect.arrayContaining([
      "troth 0.1.0",
      "control plane 0.1.0",
      "node agent of local 0.1.0",
      "proxy of /test/caller 0.1.1",
      "proxy of /test/callee 0.1.0",
    ]),
  );
});

it("cuts what the old one still has when its time is up", async () => {
  await using streams = await openService(mesh, "/test/streams", { command: apparatus("lasting-app.ts") });
  await troth(mesh.path, "allow", "/test/caller", "/test/streams");
  const call = { address: outboundAddress, host: "streams.test.mesh", path: "/", timeoutMillis: 10_000 };
  while ((await httpCall(call)).status !== 200) await sleep(50);
  const stream = await openStream(outboundAddress, "streams.test.mesh");

  await troth(mesh.path, "proxy", "replace", "/test/streams", "--drain-seconds", "1");
  while (stream.broken === undefined) await sleep(50);

  expect(streams.status.isServing).toBe(true);
  expect((await servingInstance(mesh.path, "/test/streams")).instance).not.toBe(streams.status.instance);
}, 60_000);

it.each([
  [[], 2, /name a service or an instance, or say --all/],
  [["/test/nobody"], 4, /no troth run of this user and mesh directory runs \/test\/nobody/],
  [["/test/caller", "--drain-seconds", "601"], 2, /--drain-seconds takes at most 600/],
] as const)("says what is wrong with %j", async (args, code, message) => {
  const ended = await troth(mesh.path, "proxy", "replace", ...args);

  expect([ended.code, ended.stderr]).toEqual([code, expect.stringMatching(message)]);
});

const versionsSchema = z.object({
  items: z.array(z.looseObject({ process: z.string(), softwareVersion: z.string() })),
});

const statesSchema = z.object({
  items: z.array(
    z.looseObject({
      service: z.string(),
      instance: z.string(),
      state: z.string(),
      softwareVersion: z.string(),
    }),
  ),
});

async function statesOfCaller(): Promise<z.infer<typeof statesSchema>["items"]> {
  const { stdout } = await troth(mesh.path, "proxy", "status", "-o", "json");
  return statesSchema.parse(JSON.parse(stdout)).items.filter(({ service }) => service === "/test/caller");
}
