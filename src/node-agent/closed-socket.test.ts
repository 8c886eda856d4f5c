import { once } from "node:events";
import { chmodSync, chownSync, mkdtempSync, rmSync, statSync } from "node:fs";
import net from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, expect, it } from "vitest";
import { requireClosedSocket } from "./closed-socket.ts";

let folder: string;
let path: string;
let server: net.Server;

beforeEach(async () => {
  folder = mkdtempSync(join(tmpdir(), "closed-socket-"));
  path = join(folder, "s");
  server = net.createServer().listen(path);
  await once(server, "listening");
});

afterEach(() => {
  server.close();
  rmSync(folder, { recursive: true, force: true });
});

it("closes a socket in a folder that is closed to others", async () => {
  await requireClosedSocket(path);

  expect(statSync(path).mode & 0o777).toBe(0o600);
});

it.each([0o755, 0o710, 0o701, 0o770])("does not serve in a folder of mode %o", async (mode) => {
  chmodSync(folder, mode);

  await expect(requireClosedSocket(path)).rejects.toThrow(/is open to other users.*chmod go=/);
});

it.runIf(process.geteuid?.() === 0)("does not serve in a folder of another user", async () => {
  chownSync(folder, 65_534, 65_534);

  await expect(requireClosedSocket(path)).rejects.toThrow(/belongs to user 65534/);
});
