import { type ChildProcess, spawn } from "node:child_process";
import { expect, it } from "vitest";
import { openApp } from "./app-process.ts";

const forever = ["-e", "setInterval(() => {}, 1000)"];

it("starts an application again that was killed, until it is disposed of", async () => {
  const started: ChildProcess[] = [];
  const again = Promise.withResolvers<void>();
  const start = (): ChildProcess => {
    const child = spawn(process.execPath, forever, { stdio: "ignore" });
    started.push(child);
    if (started.length === 2) child.once("spawn", () => again.resolve());
    return child;
  };
  const app = await openApp(start, { file: "node", restarts: true });

  started[0]?.kill("SIGKILL");
  await again.promise;
  await app[Symbol.asyncDispose]();

  expect(started.map(({ signalCode }) => signalCode)).toEqual(["SIGKILL", "SIGTERM"]);
});

it("ends with the application's code where it is not started again", async () => {
  await using app = await openApp(
    () => spawn(process.execPath, ["-e", "process.exit(7)"], { stdio: "ignore" }),
    { file: "node", restarts: false },
  );

  expect(await app.exited).toBe(7);
});

it("says what cannot be run", async () => {
  await expect(
    openApp(() => spawn("/no/such/file"), { file: "/no/such/file", restarts: false }),
  ).rejects.toThrow("cannot run /no/such/file; write the command and its arguments after --");
});
