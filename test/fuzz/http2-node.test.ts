import { once } from "node:events";
import {
  type ClientHttp2Session,
  connect,
  createServer,
  type IncomingHttpHeaders,
  type ServerHttp2Stream,
} from "node:http2";
import fc from "fast-check";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { type EchoServer, fieldsOf, openClient, openEchoServer } from "./http2-peers.ts";

/** What goes over one stream; `cut` ends it early with RST_STREAM. */
interface Script {
  readonly path: string;
  readonly fields: readonly (readonly [string, string])[];
  readonly body: string;
  readonly trailer: string | undefined;
}

const name = fc.constantFrom("x-a", "x-b", "accept", "cookie", "authorization", "traceparent", "x-long");
const value = fc.oneof(
  fc.constantFrom("1", "", "text/plain", "z".repeat(300)),
  fc.stringMatching(/^[!-~]([ !-~]{0,60}[!-~])?$/),
);
const script: fc.Arbitrary<Script> = fc.record({
  path: fc.constantFrom("/", "/a", "/b?c=d", `/${"p".repeat(200)}`),
  fields: fc.uniqueArray(fc.tuple(name, value), { maxLength: 5, selector: ([name]) => name }),
  body: fc.oneof(
    fc.constant(""),
    fc.string({ unit: "binary-ascii", maxLength: 50 }),
    fc.nat(300_000).map((bytes) => "b".repeat(bytes)),
  ),
  trailer: fc.option(value, { nil: undefined }),
});
const scripts = fc.array(script, { minLength: 1, maxLength: 12 });

describe("node:http2 as client of our server", () => {
  let server: EchoServer;
  let client: ClientHttp2Session;
  beforeAll(async () => {
    server = await openEchoServer();
    client = connect(`http://127.0.0.1:${server.port}`);
    await once(client, "connect");
  });
  afterAll(async () => {
    client.destroy();
    await server[Symbol.asyncDispose]();
  });

  test("gets back every body and every trailer, whatever runs beside", { timeout: 60_000 }, async () => {
    await fc.assert(
      fc.asyncProperty(scripts, async (all) => {
        const before = server.seen.length;

        const outcomes = await Promise.all(all.map(async (one) => askOf(client, one)));

        expect(outcomes).toEqual(
          all.map(({ body, trailer }) => ({
            status: 200,
            body: body === "" ? "hello" : body,
            trailer: trailer ?? undefined,
          })),
        );
        const seen = server.seen.slice(before);
        expect(seen.map(({ head }) => head.path)).toEqual(all.map(({ path }) => path));
        for (const [place, { head }] of seen.entries())
          for (const [name, value] of all[place]?.fields ?? [])
            expect(head.fields.find((field) => field.name === name)?.value).toBe(value);
        expect(server.faults).toEqual([]);
      }),
      { numRuns: 60 },
    );
  });

  test("may reset streams at any time, and others are not touched", { timeout: 60_000 }, async () => {
    await fc.assert(
      fc.asyncProperty(script, fc.nat(5), async (one, turns) => {
        const doomed = client.request({ ":method": "POST" });
        doomed.on("error", () => {});
        doomed.write("x".repeat(1 + turns * 20_000));
        const other = askOf(client, one);
        for (let turn = 0; turn < turns; turn += 1) await new Promise(setImmediate);
        doomed.close(8);

        expect((await other).body).toBe(one.body === "" ? "hello" : one.body);
      }),
      { numRuns: 40 },
    );
    expect(server.faults).toEqual([]);
  });
});

describe("node:http2 as server of our client", () => {
  const server = createServer({ settings: { initialWindowSize: 30_000, headerTableSize: 1_000 } });
  const seen: IncomingHttpHeaders[] = [];
  let port = 0;
  beforeAll(async () => {
    server.on("stream", (stream: ServerHttp2Stream, headers: IncomingHttpHeaders) => {
      seen.push(headers);
      let trailers: IncomingHttpHeaders = {};
      const chunks: Buffer[] = [];
      stream.on("error", () => {});
      stream.on("trailers", (received: IncomingHttpHeaders) => {
        trailers = { ...received };
      });
      stream.on("data", (chunk: Buffer) => chunks.push(chunk));
      stream.on("end", () => {
        if (stream.destroyed) return;
        stream.respond({ ":status": 200, "x-seen": "yes" }, { waitForTrailers: true });
        stream.on("wantTrailers", () => stream.sendTrailers(trailers));
        stream.end(Buffer.concat(chunks));
      });
    });
    server.listen(0, "127.0.0.1");
    await once(server, "listening");
    const address = server.address();
    port = typeof address === "object" && address !== null ? address.port : 0;
  });
  afterAll(() => server.close());

  test("understands every request of ours and is understood", { timeout: 60_000 }, async () => {
    using client = await openClient(port);
    await fc.assert(
      fc.asyncProperty(scripts, async (all) => {
        const before = seen.length;

        const outcomes = await Promise.all(
          all.map(async ({ path, fields, body, trailer }) =>
            client.ask(
              fieldsOf(
                [":method", "POST"],
                [":scheme", "http"],
                [":path", path],
                [":authority", "a"],
                ...fields,
              ),
              body,
              trailer === undefined ? undefined : fieldsOf(["x-trailer", trailer]),
            ),
          ),
        );

        expect(outcomes.map(({ status, body, reset }) => [status, body, reset])).toEqual(
          all.map(({ body }) => [200, body, undefined]),
        );
        expect(outcomes.map(({ trailers }) => trailers?.[0]?.value)).toEqual(
          all.map(({ trailer }) => trailer ?? undefined),
        );
        const heard = seen.slice(before);
        expect(heard.map((headers) => headers[":path"])).toEqual(all.map(({ path }) => path));
        for (const [place, headers] of heard.entries())
          for (const [name, value] of all[place]?.fields ?? []) expect(headers[name]).toBe(value);
      }),
      { numRuns: 60 },
    );
  });
});

async function askOf(
  client: ClientHttp2Session,
  { path, fields, body, trailer }: Script,
): Promise<{ status: unknown; body: string; trailer: unknown }> {
  return new Promise((resolve, reject) => {
    const hasMore = body !== "" || trailer !== undefined;
    const stream = client.request(
      { ":method": "POST", ":path": path, ...Object.fromEntries(fields) },
      { endStream: !hasMore, waitForTrailers: trailer !== undefined },
    );
    const outcome: { status: unknown; body: string; trailer: unknown } = {
      status: 0,
      body: "",
      trailer: undefined,
    };
    stream.setEncoding("latin1");
    stream.on("response", (headers) => {
      outcome.status = headers[":status"];
    });
    stream.on("data", (text: string) => {
      outcome.body += text;
    });
    stream.on("trailers", (trailers) => {
      outcome.trailer = trailers["x-trailer"];
    });
    stream.on("wantTrailers", () => stream.sendTrailers({ "x-trailer": trailer ?? "" }));
    stream.on("error", reject);
    stream.on("close", () => resolve(outcome));
    if (hasMore) stream.end(body, "latin1");
  });
}
