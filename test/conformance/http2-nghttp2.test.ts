import { execFile, spawn, spawnSync } from "node:child_process";
import { once } from "node:events";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { connect, createServer } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, describe, expect, test } from "vitest";
import { fieldsOf, openClient, openEchoServer } from "../fuzz/http2-peers.ts";

const isHere = ["nghttp", "nghttpd", "h2load"].every((tool) => spawnSync(tool, ["--version"]).status === 0);
if (!isHere) console.log("skipped: HTTP/2 with nghttp2's tools (no nghttp, nghttpd and h2load on the PATH)");

const folder = mkdtempSync(join(tmpdir(), "troth-nghttp2-"));
afterAll(() => rmSync(folder, { recursive: true, force: true }));

describe.skipIf(!isHere)("nghttp2", () => {
  test("gets from our server what it sent, with padding, small windows and continuations", async () => {
    await using server = await openEchoServer();
    const body = "0123456789".repeat(20_000);
    writeFileSync(join(folder, "body"), body);
    const url = `http://127.0.0.1:${server.port}/a?b`;

    expect(await run("nghttp", url)).toBe("hello");
    expect(await run("nghttp", "-d", join(folder, "body"), "-b", "100", "-w", "10", "-W", "12", url)).toBe(
      body,
    );
    expect(
      await run("nghttp", "--continuation", "--trailer", "x-a: b", "-d", join(folder, "body"), url),
    ).toBe(body);
    expect(server.seen.at(-1)).toMatchObject({ trailers: [{ name: "x-a", value: "b" }] });
    expect(server.faults).toEqual([]);
  });

  test("has every one of thousands of requests answered", { timeout: 60_000 }, async () => {
    await using server = await openEchoServer();

    const report = await run(
      "h2load",
      "-n",
      "20000",
      "-c",
      "4",
      "-m",
      "100",
      `http://127.0.0.1:${server.port}/`,
    );

    expect(report).toContain("20000 total, 20000 started, 20000 done, 20000 succeeded, 0 failed, 0 errored");
    expect(server.faults).toEqual([]);
  });

  test("serves our client", async () => {
    writeFileSync(join(folder, "file"), "f".repeat(300_000));
    const port = await freePort();
    const peer = spawn("nghttpd", ["--no-tls", "-d", folder, String(port)], { stdio: "ignore" });
    try {
      await untilListening(port);
      using client = await openClient(port);
      const ask = async (path: string): Promise<{ status: number; body: string }> =>
        client.ask(fieldsOf([":method", "GET"], [":scheme", "http"], [":path", path], [":authority", "a"]));

      const all = await Promise.all(Array.from({ length: 50 }, async () => ask("/file")));

      expect(all.every(({ status, body }) => status === 200 && body === "f".repeat(300_000))).toBe(true);
      expect(await ask("/none")).toMatchObject({ status: 404 });
    } finally {
      const ended = once(peer, "exit");
      peer.kill();
      await ended;
    }
  });
});

async function run(file: string, ...rest: readonly string[]): Promise<string> {
  return new Promise((resolve, reject) => {
    execFile(file, rest, { maxBuffer: 2 ** 24 }, (error, stdout) =>
      error === null ? resolve(stdout) : reject(error),
    );
  });
}

async function freePort(): Promise<number> {
  const server = createServer().listen(0, "127.0.0.1");
  await once(server, "listening");
  const address = server.address();
  server.close();
  await once(server, "close");
  return typeof address === "object" && address !== null ? address.port : 0;
}

async function untilListening(port: number): Promise<void> {
  for (let tries = 0; tries < 100; tries += 1) {
    const socket = connect(port, "127.0.0.1");
    const isThere = await new Promise((resolve) => {
      socket.once("connect", () => resolve(true)).once("error", () => resolve(false));
    });
    socket.destroy();
    if (isThere === true) return;
    await new Promise((resolve) => {
      setTimeout(resolve, 50);
    });
  }
}
