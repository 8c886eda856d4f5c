import { once } from "node:events";
import {
  type ClientHttp2Session,
  connect,
  createServer,
  type IncomingHttpHeaders,
  type ServerHttp2Session,
  type ServerHttp2Stream,
} from "node:http2";
import { isDeepStrictEqual } from "node:util";
import fc from "fast-check";
import { fieldsOf, openClient, openEchoServer } from "./http2-peers.ts";
import { openLinkHop } from "./link-hop.ts";

/** What goes over one stream, and comes back. */
export interface Script {
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

/** Any of them. */
export const anyScript: fc.Arbitrary<Script> = fc.record({
  path: fc.constantFrom("/", "/a", "/b?c=d", `/${"p".repeat(200)}`),
  fields: fc.uniqueArray(fc.tuple(name, value), { maxLength: 5, selector: ([name]) => name }),
  body: fc.oneof(
    fc.constant(""),
    fc.string({ unit: "binary-ascii", maxLength: 50 }),
    fc.nat(300_000).map((bytes) => "b".repeat(bytes)),
  ),
  trailer: fc.option(value, { nil: undefined }),
});

/** Several at once on one connection. */
export const anyScripts: fc.Arbitrary<Script[]> = fc.array(anyScript, { minLength: 1, maxLength: 12 });

/** An implementation of ours and Node's, which is nghttp2, with each other. */
export interface Pairing extends AsyncDisposable {
  /** Sends scripts at once; what one side saw otherwise than the other meant, if anything. */
  readonly disagreement: (scripts: readonly Script[]) => Promise<string | undefined>;
}

/** Node's client with our server. */
export async function nodeWithOurServer(): Promise<Pairing & { readonly client: ClientHttp2Session }> {
  const server = await openEchoServer();
  const client = connect(`http://127.0.0.1:${server.port}`);
  await once(client, "connect");
  return {
    client,
    disagreement: async (scripts) => {
      const before = server.seen.length;
      const outcomes = await Promise.all(scripts.map(async (one) => askOf(client, one)));
      const heard = server.seen.splice(before).map(({ head: { path, fields } }) => ({
        path,
        fields: Object.fromEntries(fields.map((field) => [field.name, field.value])),
      }));
      const answers = scripts.map((one) => ({
        ...answerTo(one),
        body: one.body === "" ? "hello" : one.body,
      }));
      const fault = server.faults.length > 0 ? `threw ${String(server.faults[0])}` : undefined;
      return fault ?? differenceIn(scripts, heard) ?? difference(outcomes, answers);
    },
    [Symbol.asyncDispose]: async () => {
      client.destroy();
      await server[Symbol.asyncDispose]();
    },
  };
}

/** Our client with Node's server. */
export async function nodeWithOurClient(): Promise<Pairing> {
  const node = await openNodeEcho();
  const client = await openClient(node.port);
  return {
    disagreement: async (scripts) => {
      const before = node.seen.length;
      const outcomes = await Promise.all(
        scripts.map(async ({ path, fields, body, trailer }) => {
          const head = fieldsOf(
            [":method", "POST"],
            [":scheme", "http"],
            [":path", path],
            [":authority", "a"],
            ...fields,
          );
          const trailers = trailer === undefined ? undefined : fieldsOf(["x-trailer", trailer]);
          const outcome = await client.ask(head, body, trailers);
          return {
            status: outcome.status,
            body: outcome.body,
            trailer: outcome.trailers?.[0]?.value,
            reset: outcome.reset ?? 0,
          };
        }),
      );
      const heard = node.seen.splice(before);
      return differenceIn(scripts, heard) ?? difference(outcomes, scripts.map(answerTo));
    },
    [Symbol.asyncDispose]: async () => {
      client[Symbol.dispose]();
      await node[Symbol.asyncDispose]();
    },
  };
}

/** Node's client with Node's server, and two proxies of ours in between. */
export async function nodeThroughBothProxies(): Promise<Pairing> {
  const node = await openNodeEcho();
  const hop = await openLinkHop(node.port, { app: "http2", takesHttp2: true });
  const client = connect(`http://127.0.0.1:${hop.port}`);
  await once(client, "connect");
  return {
    disagreement: async (scripts) => {
      const before = node.seen.length;
      // Proxies start requests with a body later than those without one, so they come in another order.
      const placed = scripts.map((script, place) => ({
        ...script,
        fields: [...script.fields, ["x-place", String(place)]] as const,
      }));
      const outcomes = await Promise.all(placed.map(async (one) => askOf(client, one)));
      const placeOf = ({ fields }: HeardRequest): number => Number(fields["x-place"]);
      const heard = node.seen.splice(before).toSorted((left, right) => placeOf(left) - placeOf(right));
      hop.outer.length = 0;
      hop.inner.length = 0;
      const fault = hop.faults.length > 0 ? `threw ${String(hop.faults[0])}` : hop.violations[0];
      return fault ?? differenceIn(placed, heard) ?? difference(outcomes, scripts.map(answerTo));
    },
    [Symbol.asyncDispose]: async () => {
      client.destroy();
      await hop[Symbol.asyncDispose]();
      await node[Symbol.asyncDispose]();
    },
  };
}

interface HeardRequest {
  readonly path: string;
  readonly fields: IncomingHttpHeaders;
}

interface Answer {
  readonly status: unknown;
  readonly body: string;
  readonly trailer: unknown;
  readonly reset: number;
}

function answerTo({ body, trailer }: Script): Answer {
  return { status: 200, body, trailer, reset: 0 };
}

function difference(seen: unknown, expected: unknown): string | undefined {
  return isDeepStrictEqual(seen, expected) ? undefined : JSON.stringify({ expected, seen }).slice(0, 4_000);
}

/** Whether requests arrived as they were meant, in their order. */
function differenceIn(scripts: readonly Script[], heard: readonly HeardRequest[]): string | undefined {
  const meant = scripts.map(({ path, fields }) => ({ path, fields: Object.fromEntries(fields) }));
  const got = heard.map(({ path, fields }, place) => ({
    path,
    fields: Object.fromEntries((scripts[place]?.fields ?? []).map(([name]) => [name, fields[name]])),
  }));
  return difference(got, meant);
}

interface NodeEcho extends AsyncDisposable {
  readonly port: number;
  readonly seen: HeardRequest[];
}

async function openNodeEcho(): Promise<NodeEcho> {
  const server = createServer({ settings: { initialWindowSize: 30_000, headerTableSize: 1_000 } });
  const sessions = new Set<ServerHttp2Session>();
  const seen: HeardRequest[] = [];
  server.on("session", (session) => sessions.add(session));
  server.on("stream", (stream: ServerHttp2Stream, headers: IncomingHttpHeaders) => {
    seen.push({ path: String(headers[":path"]), fields: headers });
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
  return {
    port: typeof address === "object" && address !== null ? address.port : 0,
    seen,
    [Symbol.asyncDispose]: async () => {
      for (const session of sessions) session.destroy();
      await new Promise((resolve) => {
        server.close(resolve);
      });
    },
  };
}

/** Sends a script with Node's client. */
export async function askOf(
  client: ClientHttp2Session,
  { path, fields, body, trailer }: Script,
): Promise<Answer> {
  return new Promise((resolve, reject) => {
    const hasMore = body !== "" || trailer !== undefined;
    const stream = client.request(
      { ":method": "POST", ":path": path, ...Object.fromEntries(fields) },
      { endStream: !hasMore, waitForTrailers: trailer !== undefined },
    );
    const outcome = { status: 0 as unknown, body: "", trailer: undefined as unknown };
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
    stream.on("close", () => resolve({ ...outcome, reset: stream.rstCode ?? 0 }));
    if (hasMore) stream.end(body, "latin1");
  });
}
