import http from "node:http";
import http2 from "node:http2";
import type { AddressInfo, Server } from "node:net";
import { Client, credentials, Metadata } from "@grpc/grpc-js";
import { beforeAll, describe, expect, it } from "vitest";
import { freePort } from "../../src/cli/free-port.ts";
import { grpcJsPeer } from "../../test/apparatus/grpc-interop.ts";
import { RunningCommand, runCommand } from "../../test/apparatus/running-command.ts";
import { compileProgram, grpcAnswerer, grpcLoadGenerator, missingForGrpc } from "../compile-program.ts";
import { type LoadResult, parseLoadResult, speaksHttp1 } from "./load.ts";

const missing = missingForGrpc();
if (missing !== undefined) console.log(`skipped: gRPC load (no nghttp2 to compile with; ${missing})`);
const programs = { load: "", answer: "" };
const answerBytes = 1_024;

beforeAll(async () => {
  if (missing !== undefined) return;
  programs.load = await compileProgram(grpcLoadGenerator);
  programs.answer = await compileProgram(grpcAnswerer);
}, 60_000);

describe.skipIf(missing !== undefined)("the gRPC load generator", () => {
  it("has so many calls in flight on each connection, and counts the good ones", async () => {
    const inFlight: number[] = [];
    let now = 0;
    const server = http2.createServer().on("stream", (stream: http2.ServerHttp2Stream) => {
      now += 1;
      inFlight.push(now);
      stream.resume().once("end", () => {
        setTimeout(() => {
          now -= 1;
          answerWith(stream, { grpcStatus: "0", bytes: answerBytes });
        }, 5);
      });
    });

    const result = await loadOn(server, ["--connections", "2", "--streams", "3", "--body", "10"]);

    expect(result.errorTexts).toEqual([]);
    expect(result.requests).toBeGreaterThan(0);
    expect(Math.max(...inFlight)).toBe(6);
    expect(result.completed).toBe(inFlight.length);
    expect(result.histogram.reduce((sum, [, count]) => sum + count, 0)).toBe(result.requests);
  });

  it.each([
    ["another gRPC status", { grpcStatus: "7", bytes: answerBytes }, "grpc-status: 7"],
    ["no gRPC status", { bytes: answerBytes }, "grpc-status: none"],
    ["another HTTP status", { httpStatus: 503, grpcStatus: "0", bytes: answerBytes }, "HTTP status: 503"],
    ["another length", { grpcStatus: "0", bytes: 3 }, "answer of another length"],
    ["a reset", { isReset: true }, "stream reset: INTERNAL_ERROR"],
  ])("counts as an error an answer with %s", async (_, answer, said) => {
    const server = http2.createServer().on("stream", (stream: http2.ServerHttp2Stream) => {
      stream.on("error", () => {});
      stream.resume().once("end", () => answerWith(stream, answer));
    });

    const result = await loadOn(server, ["--streams", "2"]);

    expect(result.errors).toBeGreaterThan(0);
    expect(result.errorTexts[0]).toBe(said);
    expect(result.requests).toBe(0);
  });

  it("counts as an error a call without an answer", async () => {
    const result = await loadOn(
      http2.createServer().on("stream", () => {}),
      ["--late", "0.1"],
    );

    expect(result.errorTexts).toEqual(["requests without an answer"]);
  });

  it("knows a server that speaks HTTP/1 by its answer", async () => {
    const result = await loadOn(http.createServer());

    expect(result.errorTexts).toEqual([speaksHttp1]);
  });

  it("finds the calls good that a gRPC library answers, and those bad that it refuses", async () => {
    const port = await freePort();
    const [file, ...args] = grpcJsPeer.serve;
    await using server = new RunningCommand(file, args, { env: { PORT: String(port) } });
    await server.untilLine(/^ready$/, 20_000);

    const good = await load(port, ["--path", "/grpc.testing.TestService/EmptyCall", "--expect", "0"]);
    const bad = await load(port, ["--path", "/grpc.testing.TestService/NoCall", "--expect", "0"]);

    expect(good.errorTexts).toEqual([]);
    expect(good.requests).toBeGreaterThan(0);
    expect(bad.errorTexts[0]).toBe("grpc-status: 12");
  });
});

describe.skipIf(missing !== undefined)("the application of the gRPC scenarios", () => {
  it("answers a gRPC library with the message that is expected", async () => {
    const port = await freePort();
    await using _ = new RunningCommand(programs.answer, [String(port), String(answerBytes)]);
    const client = new Client(`127.0.0.1:${port}`, credentials.createInsecure(), {
      "grpc.enable_http_proxy": 0,
    });
    const asIs = (bytes: Buffer): Buffer => bytes;

    const answer = await new Promise((resolve, reject) => {
      const metadata = new Metadata({ waitForReady: true });
      const request = Buffer.alloc(100_000);
      client.makeUnaryRequest("/bench.Echo/Unary", asIs, asIs, request, metadata, (error, bytes) =>
        error === null ? resolve(bytes) : reject(error),
      );
    });
    client.close();

    expect(answer).toEqual(Buffer.alloc(answerBytes, "x"));
  });
});

interface Answer {
  readonly httpStatus?: number;
  readonly grpcStatus?: string;
  /** Of the message, without its prefix. */
  readonly bytes?: number;
  readonly isReset?: boolean;
}

function answerWith(stream: http2.ServerHttp2Stream, answer: Answer): void {
  const { httpStatus = 200, grpcStatus, bytes = 0, isReset = false } = answer;
  if (stream.destroyed) return;
  if (isReset) return stream.close(http2.constants.NGHTTP2_INTERNAL_ERROR);
  stream.respond({ ":status": httpStatus, "content-type": "application/grpc" }, { waitForTrailers: true });
  stream.once("wantTrailers", () =>
    stream.sendTrailers(grpcStatus === undefined ? {} : { "grpc-status": grpcStatus }),
  );
  stream.end(Buffer.alloc(bytes + 5));
}

async function loadOn(server: Server, args: readonly string[] = []): Promise<LoadResult> {
  const sessions = new Set<{ destroy: () => void }>();
  server.on("session", (session: http2.ServerHttp2Session) => {
    sessions.add(session);
    session.on("error", () => {});
  });
  await new Promise<void>((resolve) => server.listen({ host: "127.0.0.1", port: 0 }, resolve));
  try {
    const path = ["--path", "/a/b", "--expect", String(answerBytes)];
    return await load(portOf(server.address()), [...path, ...args]);
  } finally {
    for (const session of sessions) session.destroy();
    server.close();
  }
}

async function load(port: number, args: readonly string[]): Promise<LoadResult> {
  const target = ["--address", `127.0.0.1:${port}`, "--host", "app", "--seconds", "0.3"];
  const { stdout } = await runCommand(programs.load, [...target, ...args], { timeoutMillis: 15_000 });
  return parseLoadResult(stdout);
}

function portOf(address: AddressInfo | string | null): number {
  return typeof address === "object" && address !== null ? address.port : 0;
}
