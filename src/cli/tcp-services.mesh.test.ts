import { writeFileSync } from "node:fs";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { afterAll, beforeAll, expect, it } from "vitest";
import { canSeeProcesses, processesMarked, signal } from "../../test/apparatus/marked-processes.ts";
import {
  openMesh,
  openService,
  type RunningMesh,
  type RunningService,
  startTroth,
  troth,
} from "../../test/apparatus/running-mesh.ts";
import { connectTo, openTcpApp } from "../../test/apparatus/tcp-app.ts";
import { temporaryFolder } from "../../test/contracts/temporary-folder.ts";
import { freePort } from "./free-port.ts";

const open = new AsyncDisposableStack();
let mesh: RunningMesh;
let caller: RunningService;
let port: number;

beforeAll(async () => {
  mesh = open.use(await openMesh({ kind: "up" }));
  port = await freePort();
  const app = open.use(await openTcpApp(({ socket }) => socket.pipe(socket)));
  open.use(
    await openService(mesh, "/proof/echo", {
      command: ["sleep", "600"],
      port: app.port,
      args: ["--app-protocol", "tcp"],
    }),
  );
  caller = open.use(await openService(mesh, "/proof/caller", { args: ["--tcp", `${port}=/proof/echo`] }));
}, 120_000);
afterAll(() => open.disposeAsync(), 60_000);

/** What comes back of a text, or how the connection closed. */
async function echo(text: string): Promise<string> {
  const end = await connectTo(`127.0.0.1:${port}`);
  end.socket.write(text);
  while (end.text !== text && end.closed === undefined) await sleep(10);
  end.socket.resetAndDestroy();
  return end.closed ?? end.text;
}

it("resets what no rule allows, and carries it once a rule does", { timeout: 60_000 }, async () => {
  const before = await echo("before");
  const allowed = await troth(mesh.path, "allow", "/proof/caller", "/proof/echo");

  expect([before, allowed.code]).toEqual(["reset", 0]);
  expect(await echo("after")).toBe("after");
});

it("refuses a rule with methods or paths for a service over TCP", { timeout: 60_000 }, async () => {
  const { code, stderr } = await troth(mesh.path, "allow", "/proof/x", "/proof/echo", "--method", "GET");

  expect([code, stderr]).toEqual([2, expect.stringContaining("/proof/echo is called over TCP")]);
});

it("names file and line of such a rule", { timeout: 60_000 }, async () => {
  await using folder = await temporaryFolder();
  const file = join(folder.path, "rules.yaml");
  writeFileSync(
    file,
    "apiVersion: troth/v1\nkind: AccessPolicy\nmetadata: {name: /proof/echo}\nspec:\n  rules:\n    - from: /proof/x\n      effect: allow\n      paths: [/]\n",
  );

  for (const command of ["apply", "diff"]) {
    const { code, stderr } = await troth(mesh.path, command, "-f", file);
    expect([code, stderr]).toEqual([
      65,
      expect.stringContaining(`${file}:8:14: spec.rules[0].paths: /proof/echo`),
    ]);
  }
});

it("says what a rule by pattern means for a service over TCP", { timeout: 60_000 }, async () => {
  const { stderr } = await troth(mesh.path, "allow", "/other/*", "/proof/*", "--method", "GET");
  const { stdout } = await troth(mesh.path, "describe", "service", "/proof/echo");

  expect(stderr).toContain("/proof/echo is called over TCP; this rule allows no connection to it");
  expect(stdout).toMatch(/Called over +: TCP/);
  expect(stdout).toContain("/other/*  GET  (allows no TCP connection)");
});

it("does not make a service one over TCP while its rules have methods", { timeout: 60_000 }, async () => {
  await troth(mesh.path, "allow", "/proof/x", "/proof/caller", "--method", "GET");
  await using running = startTroth(mesh.path, [
    "run",
    "--service",
    "/proof/caller",
    "--app-protocol",
    "tcp",
    "--",
    "true",
  ]);
  const { code, stderr } = await running.ended(30_000);

  expect([code, stderr]).toEqual([
    1,
    expect.stringContaining('the rule "/proof/x /proof/caller" has methods'),
  ]);
});

it("tells the application where a service over TCP is", { timeout: 60_000 }, async () => {
  await using running = startTroth(mesh.path, [
    "run",
    "--service",
    "/proof/other",
    "--tcp",
    "/proof/echo",
    "--",
    "sh",
    "-c",
    "echo at $TROTH_TCP_PROOF_ECHO",
  ]);
  const { code, stdout } = await running.ended(30_000);

  expect([code, stdout]).toEqual([0, expect.stringMatching(/^at 127\.0\.0\.1:[0-9]+$/m)]);
});

it.runIf(canSeeProcesses())(
  "refuses no connection while the sidecar is started again",
  { timeout: 60_000 },
  async () => {
    const [sidecar] = processesMarked(caller.command.mark).filter(({ command }) => command[2] === "sidecar");
    if (sidecar === undefined) throw new Error("no sidecar");
    signal(sidecar.pid, "SIGKILL");

    expect(await echo("meanwhile")).toBe("meanwhile");
  },
);
