import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import net from "node:net";
import { expect, it } from "vitest";
import { freePort } from "./free-port.ts";
import { HeldPort } from "./held-port.ts";

const listenOnInherited = `
  require("node:net").createServer((socket) => socket.end(process.argv[1]))
    .listen({ fd: 3 }, () => process.stdout.write("listening"));`;

/** A child that answers every connection with its name. */
async function childOn(port: HeldPort, name: string): Promise<ChildProcess> {
  const child = spawn(process.execPath, ["-e", listenOnInherited, name], {
    stdio: ["ignore", "pipe", "inherit", port.descriptor],
  });
  if (child.stdout !== null) await once(child.stdout, "data");
  return child;
}

async function ask(port: number): Promise<string> {
  const socket = net.connect({ host: "127.0.0.1", port });
  let text = "";
  socket.on("data", (chunk) => {
    text += chunk.toString();
  });
  await once(socket, "close");
  return text;
}

async function killed(child: ChildProcess): Promise<void> {
  const ended = once(child, "exit");
  child.kill("SIGKILL");
  await ended;
}

it("keeps a connection that comes between two children for the second", async () => {
  using port = HeldPort.open(await freePort());
  if (port === undefined) return;
  const first = await childOn(port, "first");
  expect(await ask(port.port)).toBe("first");
  await killed(first);

  const between = ask(port.port);
  const second = await childOn(port, "second");

  expect(await between).toBe("second");
  await killed(second);
});

it("refuses after a release, and listens again for the next child", async () => {
  using port = HeldPort.open(await freePort());
  if (port === undefined) return;
  await killed(await childOn(port, "first"));

  port.release();

  await expect(ask(port.port)).rejects.toThrow("ECONNREFUSED");
  const second = await childOn(port, "second");
  expect(await ask(port.port)).toBe("second");
  await killed(second);
});

it("throws where another process has the port", async () => {
  const other = net.createServer();
  const port = await freePort();
  await new Promise<void>((resolve) => other.listen({ host: "127.0.0.1", port }, resolve));

  expect(() => HeldPort.open(port)).toThrow("EADDRINUSE");

  other.close();
});
