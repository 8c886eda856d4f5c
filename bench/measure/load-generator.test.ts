import { spawnSync } from "node:child_process";
import net from "node:net";
import { setTimeout as sleep } from "node:timers/promises";
import { beforeAll, describe, expect, it } from "vitest";
import { runCommand } from "../../test/apparatus/running-command.ts";
import { compileProgram, httpLoadGenerator } from "../compile-program.ts";
import { type Load, type LoadResult, parseLoadResult, runLoad } from "./load.ts";

const seconds = 0.3;
const answer = `HTTP/1.1 200 OK\r\nContent-Length: 1024\r\n\r\n${"x".repeat(1024)}`;
let program = "";

/** Answers each request (or what stands for one) with these bytes, in pieces, after some time. */
interface Behaviour {
  readonly answer?: string;
  readonly pieces?: number;
  readonly delayMillis?: (request: number) => number;
  readonly closes?: boolean;
}

interface Seen {
  requests: number;
  connections: number;
  bytes: number;
}

async function tried(
  load: Partial<Load>,
  behaviour: Behaviour = {},
): Promise<{ result: LoadResult; seen: Seen }> {
  const seen: Seen = { requests: 0, connections: 0, bytes: 0 };
  const { answer: text = answer, pieces = 1, delayMillis = () => 0, closes = false } = behaviour;
  const server = net.createServer({ noDelay: true }, (socket) => {
    seen.connections += 1;
    let pending = "";
    socket.on("error", () => socket.destroy());
    socket.on("data", (chunk: Buffer) => {
      seen.bytes += chunk.length;
      pending += chunk.toString("latin1");
      const end = pending.indexOf("\r\n\r\n");
      const length = Number(/content-length: ([0-9]+)/i.exec(pending)?.[1] ?? 0);
      if (end < 0 || pending.length < end + 4 + length) return;
      pending = "";
      seen.requests += 1;
      const delay = delayMillis(seen.requests);
      void (async () => {
        if (delay > 0) await sleep(delay);
        const size = Math.ceil(text.length / pieces);
        for (let piece = 0; piece < pieces; piece += 1) {
          socket.write(text.slice(piece * size, (piece + 1) * size));
          if (pieces > 1) await sleep(1);
        }
        if (closes) socket.end();
      })();
    });
  });
  await new Promise<void>((resolve) => server.listen({ host: "127.0.0.1", port: 0 }, resolve));
  const bound = server.address();
  const port = typeof bound === "object" && bound !== null ? bound.port : 0;
  try {
    const whole: Load = { connections: 2, path: "/1k", seconds, warmupSeconds: 0, ...load };
    const target = { program, address: `127.0.0.1:${port}`, host: "app", core: undefined };
    return { result: await runLoad(whole, target), seen };
  } finally {
    await new Promise<void>((resolve) => server.close(() => resolve()));
  }
}

const canCompile = process.platform === "linux" && spawnSync("cc", ["--version"]).error === undefined;

beforeAll(async () => {
  if (canCompile) program = await compileProgram(httpLoadGenerator);
}, 60_000);

describe.runIf(canCompile)("the load generator in a closed loop", () => {
  it("has on each connection one request in flight, and keeps the connection", async () => {
    const { result, seen } = await tried({});

    expect(result.errors).toBe(0);
    expect(result.requests).toBeGreaterThan(0);
    expect(seen.connections).toBe(2);
    expect(seen.requests - result.completed).toBeLessThanOrEqual(2);
    expect(result.histogram.reduce((sum, [, count]) => sum + count, 0)).toBe(result.requests);
  });

  it("does not count what ends in the warm-up", async () => {
    const { result } = await tried({ warmupSeconds: 0.2 });

    expect(result.completed).toBeGreaterThan(result.requests);
  });

  it("reads answers that come in pieces", async () => {
    const { result } = await tried({}, { pieces: 5 });

    expect(result.errors).toBe(0);
    expect(result.requests).toBeGreaterThan(0);
  });

  it("opens a connection for each request when asked to", async () => {
    const { result, seen } = await tried({ newConnections: true }, { closes: true });

    expect(result.errors).toBe(0);
    expect(result.completed).toBeGreaterThan(2);
    expect(seen.connections).toBeGreaterThanOrEqual(result.completed);
  });

  it("sends bodies", async () => {
    const { result, seen } = await tried({ bodyBytes: 10_000 });

    expect(result.errors).toBe(0);
    expect(seen.bytes).toBeGreaterThan(10_000 * result.completed);
  });

  it.each([
    ["another status", answer.replace("200 OK", "503 Unavailable"), "answer: HTTP/1.1 503 Unavailable"],
    ["another length", "HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\nabc", "answer of another length"],
    ["no length", "HTTP/1.1 200 OK\r\n\r\nabc", "answer without Content-Length"],
    ["more than was asked for", `${answer}${answer}`, "more bytes than the answer has"],
  ])("counts as an error an answer with %s", async (_, text, said) => {
    const { result } = await tried({ connections: 1 }, { answer: text });

    expect(result.errors).toBeGreaterThan(0);
    expect(result.errorTexts[0]).toBe(said);
  });

  it("counts as an error a connection that the server closes", async () => {
    const { result } = await tried({}, { closes: true });

    expect(result.errors).toBeGreaterThan(0);
  });
});

describe.runIf(canCompile)("a request without an answer", () => {
  it.each([
    ["in a closed loop", []],
    ["in an open loop", ["--rate", "20"]],
  ])("is an error %s", async (_, rate) => {
    const silent = net.createServer((socket) => socket.resume());
    await new Promise<void>((resolve) => silent.listen({ host: "127.0.0.1", port: 0 }, resolve));
    const bound = silent.address();
    const port = typeof bound === "object" && bound !== null ? bound.port : 0;

    const times = ["--seconds", "0.2", "--late", "0.1"];
    const args = ["--address", `127.0.0.1:${port}`, "--host", "app", ...times, ...rate];
    const { stdout } = await runCommand(program, args, { timeoutMillis: 10_000 });

    expect(parseLoadResult(stdout).errorTexts).toEqual(["requests without an answer"]);
    await new Promise<void>((resolve) => silent.close(() => resolve()));
  });
});

describe.runIf(canCompile)("the load generator in an open loop", () => {
  it("sends as many as the rate says, however slow the answers are", async () => {
    const { result, seen } = await tried(
      { requestsPerSecond: 100, connections: 4 },
      { delayMillis: () => 25 },
    );

    expect(result.errors).toBe(0);
    expect(seen.requests).toBe(30);
    expect(result.requests).toBe(30);
  });

  it("counts latency from when a request was due, so that a stall shows in all that waited for it", async () => {
    const { result } = await tried(
      { requestsPerSecond: 100, connections: 1 },
      { delayMillis: (request) => (request === 2 ? 200 : 0) },
    );

    expect(result.requests).toBe(30);
    // Due every 10 ms: those that waited behind the one that took 200 ms took 190, 180 … ms themselves.
    const slow = result.histogram
      .filter(([nanos]) => nanos > 50e6)
      .reduce((sum, [, count]) => sum + count, 0);
    expect(slow).toBeGreaterThan(10);
  });
});
