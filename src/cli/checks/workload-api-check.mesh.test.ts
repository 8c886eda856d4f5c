import { rm } from "node:fs/promises";
import net from "node:net";
import { join } from "node:path";
import { afterEach, beforeEach, expect, it } from "vitest";
import type { MeshInProcess } from "../../../test/apparatus/mesh-in-process.ts";
import { foundWorkloadMesh } from "../../../test/apparatus/workload-mesh.ts";
import { temporaryFolder } from "../../../test/contracts/temporary-folder.ts";
import { workloadApiFinding } from "./workload-api-check.ts";

let stack: AsyncDisposableStack;
let path: string;

beforeEach(async () => {
  stack = new AsyncDisposableStack();
  path = join(stack.use(await temporaryFolder()).path, "workload.sock");
});

afterEach(() => stack.disposeAsync());

async function openAgent(): Promise<MeshInProcess> {
  return stack.use(await foundWorkloadMesh({ workloads: { endpoints: [{ kind: "unix", path }] } }));
}

/** Something at the socket that is no agent. */
async function listen(accept: (socket: net.Socket) => void): Promise<void> {
  const sockets: net.Socket[] = [];
  const server = net.createServer((socket) => {
    sockets.push(socket.on("error", () => socket.destroy()));
    accept(socket);
  });
  await new Promise<void>((resolve) => server.listen(path, resolve));
  stack.defer(() => {
    for (const socket of sockets) socket.destroy();
    server.close();
  });
}

it("finds nothing where an agent answers, and has nothing issued for it", async () => {
  const mesh = await openAgent();

  expect(await workloadApiFinding(path, 7)).toBeUndefined();
  expect(mesh.controlPlane.writer.state.instances.size).toBe(0);
});

it("says that the socket is gone, and which process to end", async () => {
  await openAgent();
  await rm(path);

  expect(await workloadApiFinding(path, 7)).toMatchObject({
    error: expect.stringContaining(`${path}: the socket is not there; programs`),
    remedy: expect.stringContaining("End process 7"),
    command: "kill -9 7",
  });
});

it("says that nothing answers", async () => {
  await listen(() => {});

  expect(await workloadApiFinding(path, 7)).toMatchObject({
    error: expect.stringContaining("no answer within 2000 ms"),
  });
});

it("is not content with something else that answers", async () => {
  await listen((socket) => socket.end("HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n"));

  expect(await workloadApiFinding(path, 7)).toMatchObject({ command: "kill -9 7" });
});
