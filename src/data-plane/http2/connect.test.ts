import { describe, expect, test } from "vitest";
import { fieldsOf } from "../../../test/fuzz/http2-peers.ts";
import {
  type BareServer,
  block,
  end,
  endHeaders,
  frame,
  openBareClient,
  openBareServer,
  settings,
} from "../../../test/fuzz/http2-wire.ts";
import type { Http2Stream, ResponseHandler } from "./http2-stream.ts";

type Pair = readonly [string, string];

const method: Pair = [":method", "CONNECT"];
const authority: Pair = [":authority", "a:443"];
const scheme: Pair = [":scheme", "http"];
const path: Pair = [":path", "/chat"];
const protocol: Pair = [":protocol", "websocket"];
const both = { plain: true, extended: true };

function ask(server: BareServer, ...fields: readonly Pair[]): BareServer {
  return server.send(frame("HEADERS", endHeaders, 1, block(...fields)));
}

/** Whether a server says that it takes the extended form. */
function announces(server: BareServer): boolean {
  return server.greeting.some(
    ({ type, payload }) => type === "SETTINGS" && payload.includes(settings([8, 1])),
  );
}

describe("a server that takes CONNECT", () => {
  test("says so in its SETTINGS where it takes the extended form, and only there", () => {
    expect(announces(openBareServer({}, { connect: { plain: false, extended: true } }))).toBe(true);
    expect(announces(openBareServer({}, { connect: { plain: true, extended: false } }))).toBe(false);
  });

  test("reads the plain form, and what follows as data of a message without length", () => {
    const server = ask(openBareServer({}, { connect: both }), method, authority);
    server.send(frame("DATA", 0, 1, Buffer.from("ab")), frame("DATA", end, 1, Buffer.from("c")));

    expect(server.seen).toMatchObject([
      {
        outcome: "complete",
        body: "abc",
        head: { method: "CONNECT", protocol: undefined, scheme: "", path: "", authority: "a:443" },
      },
    ]);
  });

  test("reads the extended form", () => {
    const server = ask(openBareServer({}, { connect: both }), method, protocol, scheme, path, authority);

    expect(server.seen).toMatchObject([
      { outcome: "open", head: { method: "CONNECT", protocol: "websocket", scheme: "http", path: "/chat" } },
    ]);
  });

  test.each<[string, readonly Pair[]]>([
    ["a plain one with a path", [method, path, authority]],
    ["a plain one with a scheme", [method, scheme, authority]],
    ["a plain one without an authority", [method]],
    ["a plain one with a host in its place", [method, ["host", "a:443"]]],
    ["an authority without a port", [method, [":authority", "a"]]],
    ["an authority with an empty port", [method, [":authority", "a:"]]],
    ["an authority with a word for a port", [method, [":authority", "a:https"]]],
    ["user information", [method, [":authority", "u@a:443"]]],
    ["a host that is another than the authority", [method, authority, ["host", "b:443"]]],
    ["a plain one with a length", [method, authority, ["content-length", "0"]]],
    ["an extended one with a length", [method, protocol, scheme, path, authority, ["content-length", "0"]]],
    ["an extended one without a scheme", [method, protocol, path, authority]],
    ["an extended one without a path", [method, protocol, scheme, authority]],
    ["a protocol with another method", [[":method", "GET"], protocol, scheme, path, authority]],
    ["two protocols", [method, protocol, protocol, scheme, path, authority]],
    ["an empty protocol", [method, [":protocol", ""], scheme, path, authority]],
    ["a protocol that is no token", [method, [":protocol", "web socket"], scheme, path, authority]],
    ["a protocol after a header field", [method, scheme, path, authority, ["a", "b"], protocol]],
    ["a field of one connection", [method, protocol, scheme, path, authority, ["upgrade", "websocket"]]],
  ])("refuses %s", (_, fields) => {
    const server = ask(openBareServer({}, { connect: both }), ...fields);

    expect(server.seen).toEqual([]);
    expect(server.verdicts()).toEqual(["reset 1 with 1"]);
  });

  test.each<[string, readonly Pair[], { plain: boolean; extended: boolean }]>([
    ["plain", [method, authority], { plain: false, extended: true }],
    ["extended", [method, protocol, scheme, path, authority], { plain: true, extended: false }],
  ])("refuses the %s form where it takes only the other", (_, fields, connect) => {
    const server = ask(openBareServer({}, { connect }), ...fields);

    expect(server.seen).toEqual([]);
    expect(server.verdicts()).toEqual(["reset 1 with 1"]);
  });

  test("refuses a header section after the head: nothing but data goes through a tunnel", () => {
    const server = ask(openBareServer({}, { connect: both }), method, authority);
    server.send(frame("HEADERS", end | endHeaders, 1, block(["x-sum", "1"])));

    expect(server.seen).toMatchObject([{ outcome: "reset", trailers: undefined }]);
    expect(server.verdicts()).toEqual(["reset 1 with 1"]);
  });
});

/** Writes down what comes of a tunnel. */
class Diary implements ResponseHandler {
  readonly entries: string[] = [];
  readonly onInterim = (): void => {};
  readonly onWritable = (): void => {};
  readonly onDeadline = (): void => {};

  onResponse({ status }: { status: number }): void {
    this.entries.push(`response ${status}`);
  }

  onData(window: Buffer, start: number, end: number): void {
    this.entries.push(`data ${window.toString("latin1", start, end)}`);
  }

  onEnd(): void {
    this.entries.push("end");
  }

  onReset(code: number, violation: string | undefined): void {
    this.entries.push(`reset ${code} ${violation ?? "by the peer"}`);
  }
}

function connect(serverSettings?: Buffer): {
  client: ReturnType<typeof openBareClient>;
  diary: Diary;
  stream: Http2Stream | undefined;
} {
  const client = openBareClient({}, serverSettings);
  const diary = new Diary();
  return { client, diary, stream: client.session.open(fieldsOf(method, authority), false, diary) };
}

describe("a client that asks for a tunnel", () => {
  test("knows from the SETTINGS whether the server takes the extended form", () => {
    expect(openBareClient().session.takesExtendedConnect).toBe(false);
    expect(openBareClient({}, settings([8, 0])).session.takesExtendedConnect).toBe(false);
    expect(openBareClient({}, settings([8, 1])).session.takesExtendedConnect).toBe(true);
  });

  test("does not let the server take its word back", () => {
    const client = openBareClient({}, settings([8, 1]));
    client.send(frame("SETTINGS", 0, 0, settings([8, 0])));

    expect(client.verdicts()).toEqual(["goaway with 1: setting-invalid"]);
  });

  test("heeds no length in what opens it, and sends on after the other side has ended", () => {
    const { client, diary, stream } = connect();
    client.send(
      frame("HEADERS", endHeaders, 1, block([":status", "200"], ["content-length", "1"])),
      frame("DATA", end, 1, Buffer.from("abc")),
    );
    client.far.take();
    stream?.sendData(Buffer.from("xy"), 0, 2, true);

    expect(diary.entries).toEqual(["response 200", "data abc", "end"]);
    expect(client.far.take()).toMatchObject([{ type: "DATA", flags: end }]);
    expect(client.session.streams.size).toBe(0);
  });

  test("takes data after a 204 that opens it", () => {
    const { client, diary } = connect();
    client.send(
      frame("HEADERS", endHeaders, 1, block([":status", "204"])),
      frame("DATA", 0, 1, Buffer.from("abc")),
    );

    expect(diary.entries).toEqual(["response 204", "data abc"]);
  });

  test("holds an answer that opens nothing to the length it declares", () => {
    const { client, diary } = connect();
    client.send(
      frame("HEADERS", endHeaders, 1, block([":status", "403"], ["content-length", "1"])),
      frame("DATA", end, 1, Buffer.from("abc")),
    );

    expect(diary.entries).toEqual(["response 403", "reset 1 content-length-mismatch"]);
  });

  test("refuses trailers in a tunnel", () => {
    const { client, diary } = connect();
    client.send(
      frame("HEADERS", endHeaders, 1, block([":status", "200"])),
      frame("HEADERS", end | endHeaders, 1, block(["x-sum", "1"])),
    );

    expect(diary.entries).toEqual(["response 200", "reset 1 tunnel-header-section"]);
  });
});
