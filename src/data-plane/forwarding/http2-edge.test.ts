import { once } from "node:events";
import http2 from "node:http2";
import { afterEach, describe, expect, test } from "vitest";
import { aWhile, until } from "../../../test/fuzz/http1-hop.ts";
import { type LinkHop, type LinkHopOptions, openLinkHop } from "../../../test/fuzz/link-hop.ts";

/** HTTP/2 from Node's client through both proxies to Node's server. */
interface Chain {
  readonly hop: LinkHop;
  readonly client: http2.ClientHttp2Session;
  /** Calls as they arrive at the application. */
  readonly calls: http2.ServerHttp2Stream[];
  readonly heads: http2.IncomingHttpHeaders[];
  readonly appSessions: http2.ServerHttp2Session[];
}

const stack = new Set<() => Promise<void>>();
afterEach(async () => {
  for (const close of [...stack].toReversed()) await close();
  stack.clear();
});

async function openChain(
  onCall: (stream: http2.ServerHttp2Stream, headers: http2.IncomingHttpHeaders) => void,
  options: LinkHopOptions & {
    readonly appSettings?: http2.Settings;
    readonly clientSettings?: http2.Settings;
  } = {},
): Promise<Chain> {
  const calls: http2.ServerHttp2Stream[] = [];
  const heads: http2.IncomingHttpHeaders[] = [];
  const appSessions: http2.ServerHttp2Session[] = [];
  const app = http2.createServer({ settings: options.appSettings ?? {} });
  app.on("session", (session) => appSessions.push(session));
  app.on("stream", (stream: http2.ServerHttp2Stream, headers) => {
    stream.on("error", () => {});
    calls.push(stream);
    heads.push(headers);
    onCall(stream, headers);
  });
  app.listen(0, "127.0.0.1");
  await once(app, "listening");
  const address = app.address();
  const port = typeof address === "object" && address !== null ? address.port : 0;
  const hop = await openLinkHop(port, { app: "http2", takesHttp2: true, ...options });
  const client = await connect(hop, options.clientSettings);
  stack.add(async () => {
    client.destroy();
    await hop[Symbol.asyncDispose]();
    for (const session of appSessions) session.destroy();
    await new Promise((resolve) => {
      app.close(resolve);
    });
  });
  return { hop, client, calls, heads, appSessions };
}

async function connect(hop: LinkHop, settings: http2.Settings = {}): Promise<http2.ClientHttp2Session> {
  const client = http2.connect(`http://127.0.0.1:${hop.port}`, { settings });
  client.on("error", () => {});
  await once(client, "connect");
  stack.add(async () => client.destroy());
  return client;
}

/** A call as its caller sees it. */
interface Call {
  readonly stream: http2.ClientHttp2Stream;
  status: number;
  body: string;
  headers: http2.IncomingHttpHeaders;
  trailers: http2.IncomingHttpHeaders | undefined;
  isOver: boolean;
  hasEnded: boolean;
}

function call(
  client: http2.ClientHttp2Session,
  headers: http2.OutgoingHttpHeaders = {},
  options: http2.ClientSessionRequestOptions = {},
): Call {
  const stream = client.request({ ":method": "POST", ":path": "/a", ":authority": "a", ...headers }, options);
  const one: Call = {
    stream,
    status: 0,
    body: "",
    headers: {},
    trailers: undefined,
    isOver: false,
    hasEnded: false,
  };
  stream.setEncoding("latin1");
  stream.on("response", (received) => {
    one.status = Number(received[":status"]);
    one.headers = received;
  });
  stream.on("data", (text: string) => {
    one.body += text;
  });
  stream.on("trailers", (trailers) => {
    one.trailers = trailers;
  });
  stream.on("end", () => {
    one.hasEnded = true;
  });
  stream.on("close", () => {
    one.isOver = true;
  });
  stream.on("error", () => {});
  return one;
}

const grpc = { "content-type": "application/grpc", te: "trailers" };

describe("HTTP/2 through both proxies", () => {
  test("carries messages of both directions in turn, none of them waiting for the end of its side", async () => {
    const { client, hop } = await openChain((stream) => {
      stream.respond({ ":status": 200 });
      stream.on("data", (text: Buffer) => stream.write(`<${text.toString("latin1")}>`));
      stream.on("end", () => stream.end());
    });
    const one = call(client, grpc);
    let expected = "";
    for (let round = 0; round < 20; round += 1) {
      one.stream.write(`${round}`);
      expected += `<${round}>`;
      await until(() => one.body === expected);
    }
    one.stream.end();
    await until(() => one.isOver);

    expect([one.status, one.hasEnded, one.stream.rstCode]).toEqual([200, true, 0]);
    expect(hop.outer).toMatchObject([{ status: 200, responseBytes: expected.length }]);
  });

  test("keeps a length and trailers that come together, in both directions", async () => {
    const { client, heads, calls } = await openChain((stream) => {
      let body = "";
      let trailers: http2.IncomingHttpHeaders = {};
      stream.on("data", (text: Buffer) => {
        body += text.toString("latin1");
      });
      stream.on("trailers", (received) => {
        trailers = received;
      });
      stream.on("end", () => {
        stream.respond({ ":status": 200, "content-length": "5" }, { waitForTrailers: true });
        stream.on("wantTrailers", () =>
          stream.sendTrailers({ "x-end": `${body} ${String(trailers["x-sum"])}` }),
        );
        stream.end("hello");
      });
    });
    const one = call(client, { "content-length": "3" }, { waitForTrailers: true });
    one.stream.on("wantTrailers", () => one.stream.sendTrailers({ "x-sum": "7" }));
    one.stream.end("abc");
    await until(() => one.isOver);

    expect(heads[0]).toMatchObject({ "content-length": "3" });
    expect([one.body, one.headers["content-length"], one.trailers]).toMatchObject([
      "hello",
      "5",
      { "x-end": "abc 7" },
    ]);
    expect(calls).toHaveLength(1);
  });

  test("sends trailers after all of a body that waited for the windows", async () => {
    const bytes = 700_000;
    const { client } = await openChain((stream) => {
      let received = 0;
      stream.on("data", (piece: Buffer) => {
        received += piece.length;
      });
      stream.on("trailers", (trailers) => {
        stream.respond({ ":status": 200 }, { waitForTrailers: true });
        stream.on("wantTrailers", () =>
          stream.sendTrailers({ "x-end": `${received} ${String(trailers["x-sum"])}` }),
        );
        stream.end("y".repeat(bytes));
      });
    });
    const one = call(client, {}, { waitForTrailers: true });
    one.stream.on("wantTrailers", () => one.stream.sendTrailers({ "x-sum": "7" }));
    one.stream.pause();
    one.stream.end("x".repeat(bytes));
    await until(() => one.status === 200);
    await aWhile();
    one.stream.resume();
    await until(() => one.isOver);

    expect([one.body.length, one.trailers?.["x-end"]]).toEqual([bytes, `${bytes} 7`]);
  });

  test("brings a large answer whole to a client that takes it in small pieces", async () => {
    const bytes = 600_000;
    const { client } = await openChain(
      (stream) => {
        stream.respond({ ":status": 200 });
        stream.end("x".repeat(bytes));
      },
      { clientSettings: { initialWindowSize: 10_000 } },
    );
    const all = Array.from({ length: 5 }, () => call(client));
    for (const { stream } of all) {
      stream.on("data", () => {
        stream.pause();
        setImmediate(() => stream.resume());
      });
      stream.end();
    }
    await until(() => all.every(({ isOver }) => isOver));

    expect(all.map(({ body }) => body.length)).toEqual(all.map(() => bytes));
  });

  test("tells the application at once that a call was cancelled", async () => {
    const { client, calls, hop } = await openChain((stream) => stream.respond({ ":status": 200 }));
    const one = call(client, grpc);
    one.stream.write("x");
    await until(() => one.status === 200);
    one.stream.close(http2.constants.NGHTTP2_CANCEL);
    await until(() => calls[0]?.closed === true);

    expect(calls[0]?.rstCode).toBe(http2.constants.NGHTTP2_CANCEL);
    expect([hop.outer, hop.inner]).toMatchObject([[{ error: "client-gone" }], [{ error: "client-gone" }]]);
  });

  test("takes an answer that comes before the end of its request, and wants no more of it", async () => {
    const { client, hop, calls } = await openChain((stream) => {
      stream.respond({ ":status": 413 });
      stream.end("big");
    });
    const early = call(client);
    early.stream.write("x".repeat(10_000));
    await until(() => early.isOver);
    const next = call(client);
    next.stream.end();
    await until(() => next.isOver);

    expect([early.status, early.body, early.stream.rstCode]).toEqual([413, "big", 0]);
    expect([next.status, calls.length, hop.linkSockets.length]).toEqual([413, 2, 1]);
    expect(hop.violations).toEqual([]);
  });

  test("has a thousand calls open at once, and all are answered", { timeout: 30_000 }, async () => {
    const { hop, calls, client } = await openChain((stream) => stream.respond({ ":status": 200 }));
    const clients = [client];
    for (let more = 0; more < 3; more += 1) clients.push(await connect(hop));
    const all = clients.flatMap((one) => Array.from({ length: 250 }, () => call(one, grpc)));
    await until(() => calls.length === 1000);
    for (const stream of calls) stream.end("ok");
    await until(() => all.every(({ body }) => body === "ok"));

    expect(hop.linkSockets).toHaveLength(4);
    for (const { stream } of all) stream.end();
    await until(() => all.every(({ isOver }) => isOver));
    expect([hop.link.load, hop.violations, hop.faults]).toEqual([0, [], []]);
  });

  test("survives that all calls of a connection are cancelled together", { timeout: 30_000 }, async () => {
    const { client, calls, hop } = await openChain((stream, headers) => {
      stream.respond({ ":status": 200 });
      if (headers[":path"] === "/end") stream.end();
    });
    for (let round = 1; round <= 2; round += 1) {
      const all = Array.from({ length: 250 }, () => call(client, grpc));
      await until(() => calls.length === 250 * round);
      for (const { stream } of all) stream.close(http2.constants.NGHTTP2_CANCEL);
      await until(() => all.every(({ isOver }) => isOver) && hop.link.load === 0);
    }
    const last = call(client, { ":path": "/end" });
    last.stream.end();
    await until(() => last.isOver);

    expect([last.status, client.destroyed, hop.violations]).toEqual([200, false, []]);
  });

  test("goes on over another connection when the application ends one, and the calls there finish", async () => {
    const { client, calls, appSessions } = await openChain((stream) => stream.respond({ ":status": 200 }));
    const held = call(client, grpc);
    await until(() => calls.length === 1);
    appSessions[0]?.close();
    await aWhile();
    const next = call(client, grpc);
    await until(() => calls.length === 2);
    for (const stream of calls) stream.end("ok");
    held.stream.end();
    next.stream.end();
    await until(() => held.isOver && next.isOver);

    expect([held.body, next.body, appSessions.length]).toEqual(["ok", "ok", 2]);
  });
});

describe("a call that its client resets", () => {
  test.each([
    ["while it is decided on", "deciding"],
    ["while its body is awaited", "awaiting"],
    ["before it is answered", "unanswered"],
    ["within its answer", "answering"],
    ["when its answer has come and waits for the client", "waiting"],
  ])("%s is over for everybody, once, and the next is served", async (_, phase) => {
    const decision = Promise.withResolvers<void>();
    const { client, calls, hop } = await openChain(
      (stream, headers) => {
        if (headers[":path"] === "/end" || phase === "answering") stream.respond({ ":status": 200 });
        if (headers[":path"] === "/end") stream.end();
        else if (phase === "waiting") {
          stream.respond({ ":status": 200 });
          stream.end("x".repeat(90_000));
        } else if (phase === "answering") stream.write("x");
      },
      {
        // So that most of a large answer has to wait in the outer proxy.
        clientSettings: { initialWindowSize: 1_000 },
        decide: async (request, forward) => {
          if (phase === "deciding" && request.target === "/a") await decision.promise;
          return forward;
        },
      },
    );
    const one = call(client, phase === "awaiting" ? { "content-length": "3" } : {});
    if (phase === "waiting") {
      one.stream.pause();
      one.stream.end();
      await until(() => hop.outer.length === 1);
    } else if (phase === "answering") await until(() => one.body === "x");
    else if (phase === "unanswered") await until(() => calls.length === 1);
    else await aWhile();
    one.stream.close(http2.constants.NGHTTP2_CANCEL);
    // Node says that a stream is over when all that it has of it was read.
    one.stream.resume();
    await until(() => one.isOver && hop.link.load === 0);
    decision.resolve();
    await aWhile();
    const next = call(client, { ":path": "/end" });
    next.stream.end();
    await until(() => next.isOver);
    await aWhile();

    const isSeen = phase !== "deciding" && phase !== "awaiting";
    expect([next.status, calls.length]).toEqual([200, isSeen ? 2 : 1]);
    // Node ends the body of a request that it gives up, short of its length.
    const violations = phase === "awaiting" ? ["content-length-mismatch"] : [];
    expect([hop.outer.length, hop.violations, hop.faults]).toEqual([2, violations, []]);
    if (isSeen) await until(() => calls[0]?.closed === true);
  });
});

describe("a header list that is larger than its receiver takes", () => {
  const small = { maxHeaderListSize: 2_000 };
  const large = { "x-large": "y".repeat(3_000) };

  test("is refused where it is a request's: head-too-large-for-upstream", async () => {
    const { client, calls } = await openChain(() => {}, { appSettings: small });
    const plain = call(client, large);
    const rpc = call(client, { ...large, ...grpc });
    await until(() => plain.isOver && rpc.isOver);

    expect([plain.status, plain.body]).toEqual([431, expect.stringContaining("head-too-large-for-upstream")]);
    expect([rpc.status, rpc.headers["grpc-status"]]).toEqual([200, "8"]);
    expect(calls).toEqual([]);
  });

  test.each([
    ["goes on", false],
    ["is whole", true],
  ])("is replaced where it is of a response that %s: head-too-large-for-client", async (_, isWhole) => {
    const { client, calls, hop } = await openChain(
      (stream) => {
        stream.respond({ ":status": 200, ...large });
        if (isWhole) stream.end("x");
        else stream.write("x");
      },
      { clientSettings: small },
    );
    const one = call(client);
    one.stream.end();
    await until(() => one.isOver);

    expect([one.status, one.body]).toEqual([502, expect.stringContaining("head-too-large-for-client")]);
    expect(hop.outer).toMatchObject([{ status: 502, error: "head-too-large-for-client" }]);
    await until(() => calls[0]?.closed === true && hop.link.load === 0);
  });

  test("is left out where it is an interim response's", async () => {
    const { client } = await openChain(
      (stream) => {
        stream.additionalHeaders({ ":status": 103, ...large });
        stream.respond({ ":status": 200 });
        stream.end("x");
      },
      { clientSettings: small },
    );
    const one = call(client);
    let interim = 0;
    one.stream.on("headers", () => {
      interim += 1;
    });
    one.stream.end();
    await until(() => one.isOver);

    expect([one.status, one.body, interim]).toEqual([200, "x", 0]);
  });

  test("makes an error of a response that it ends", async () => {
    const { client } = await openChain(
      (stream) => {
        stream.respond({ ":status": 200 }, { waitForTrailers: true });
        stream.on("wantTrailers", () => stream.sendTrailers(large));
        stream.end("x");
      },
      { clientSettings: small },
    );
    const one = call(client);
    one.stream.end();
    await until(() => one.isOver);

    expect([one.status, one.stream.rstCode]).toEqual([200, http2.constants.NGHTTP2_INTERNAL_ERROR]);
  });

  test("refuses a request that it ends", async () => {
    const { client, calls } = await openChain((stream) => stream.resume(), { appSettings: small });
    const one = call(client, {}, { waitForTrailers: true });
    one.stream.on("wantTrailers", () => one.stream.sendTrailers(large));
    one.stream.end("x");
    await until(() => one.isOver);

    expect([one.status, one.body]).toEqual([431, expect.stringContaining("head-too-large-for-upstream")]);
    await until(() => calls[0]?.closed !== false);
  });
});
