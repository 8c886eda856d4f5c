import { describe, expect, test } from "vitest";
import { fieldsOf } from "../../../test/fuzz/http2-peers.ts";
import {
  ack,
  type BareClient,
  block,
  end,
  endHeaders,
  frame,
  openBareClient,
  settings,
  word,
} from "../../../test/fuzz/http2-wire.ts";
import type { Http2Stream, ResponseHandler } from "./http2-stream.ts";

const whole = end | endHeaders;
const okay = block([":status", "200"]);
const get = fieldsOf([":method", "GET"], [":scheme", "http"], [":path", "/"], [":authority", "a"]);
const head = fieldsOf([":method", "HEAD"], [":scheme", "http"], [":path", "/"], [":authority", "a"]);

/** Writes down what it is told. */
class Diary implements ResponseHandler {
  readonly entries: string[] = [];

  onInterim({ status }: { status: number }): void {
    this.entries.push(`interim ${status}`);
  }

  onResponse({ status }: { status: number }, isEnd: boolean): void {
    this.entries.push(`response ${status}${isEnd ? " and end" : ""}`);
  }

  onData(window: Buffer, start: number, end: number): void {
    this.entries.push(`data ${window.toString("latin1", start, end)}`);
  }

  onEnd(trailers: readonly { name: string }[] | undefined): void {
    this.entries.push(
      `end${trailers === undefined ? "" : ` with ${trailers.map(({ name }) => name).join()}`}`,
    );
  }

  onReset(code: number, violation: string | undefined): void {
    this.entries.push(`reset ${code} ${violation ?? "by the peer"}`);
  }

  onWritable(): void {
    this.entries.push("writable");
  }

  onDeadline(): void {
    this.entries.push("late");
  }
}

function ask(client: BareClient, fields = get): { diary: Diary; stream: Http2Stream | undefined } {
  const diary = new Diary();
  return { diary, stream: client.session.open(fields, true, diary) };
}

describe("a client session", () => {
  test("begins with the preface and SETTINGS that forbid push", () => {
    const client = openBareClient();
    const { diary } = ask(client);

    client.send(frame("HEADERS", endHeaders, 1, okay), frame("DATA", end, 1, Buffer.from("hi")));

    expect(client.far.take().map(({ type, streamId }) => [type, streamId])).toEqual([["HEADERS", 1]]);
    expect(diary.entries).toEqual(["response 200", "data hi", "end"]);
    expect(client.session.streams.size).toBe(0);
  });

  test("tells of interim responses, trailers and responses without a body", () => {
    const client = openBareClient();
    const [first, second] = [ask(client).diary, ask(client, head).diary];

    client.send(
      frame("HEADERS", endHeaders, 1, block([":status", "103"], ["link", "a"])),
      frame("HEADERS", endHeaders, 1, okay),
      frame("HEADERS", whole, 1, block(["grpc-status", "0"])),
      frame("HEADERS", whole, 3, block([":status", "200"], ["content-length", "7"])),
    );

    expect(first.entries).toEqual(["interim 103", "response 200", "end with grpc-status"]);
    expect(second.entries).toEqual(["response 200 and end", "end"]);
  });

  test("opens no more streams than either side allows, and says when there is room", () => {
    const client = openBareClient({ ownStreamsMax: 3 }, settings([3, 2]));
    ask(client);
    ask(client);

    expect([ask(client).stream, client.told]).toEqual([undefined, []]);
    client.send(frame("HEADERS", whole, 1, okay));
    expect(client.told).toEqual(["capacity"]);
    expect(ask(client).stream?.id).toBe(5);
    client.send(frame("SETTINGS", 0, 0, settings([3, 100])));
    expect(ask(client).stream?.id).toBe(7);

    expect(ask(client).stream).toBeUndefined();
  });

  test("hears that it may open more when SETTINGS say so", () => {
    const client = openBareClient({}, settings([3, 0]));
    expect(ask(client).stream).toBeUndefined();

    client.send(frame("SETTINGS", 0, 0, settings([3, 1])));

    expect([client.told, ask(client).stream?.id]).toEqual([["capacity"], 1]);
  });

  test("knows what header lists its server takes", () => {
    const list = fieldsOf(["x-a", "y".repeat(8_192 - 32 - 3)]);
    expect(openBareClient().session.takes([...list, ...list])).toBe(true);
    expect(openBareClient({}, settings([6, 8_192])).session.takes(list)).toBe(true);
    expect(openBareClient({}, settings([6, 8_191])).session.takes(list)).toBe(false);
  });

  test("gives back what came after the last stream that GOAWAY names, and finishes the others", () => {
    const client = openBareClient();
    const [first, second] = [ask(client).diary, ask(client).diary];

    client.send(frame("GOAWAY", 0, 0, Buffer.concat([word(1), word(0)])));
    expect([client.told, ask(client).stream]).toEqual([["draining"], undefined]);
    client.send(frame("HEADERS", whole, 1, okay));

    expect(second.entries).toEqual(["reset 7 by the peer"]);
    expect(first.entries).toEqual(["response 200 and end", "end"]);
    expect([client.ends, client.far.hasEnded]).toEqual([[undefined], true]);
  });

  test("leaves it to a server that drains how long its streams may take", () => {
    const client = openBareClient({ drainMillis: 3_000, retireMillis: 20_000, pingAfterMillis: 1e9 });
    const { diary } = ask(client);
    client.send(frame("GOAWAY", 0, 0, Buffer.concat([word(1), word(0)])));
    client.clock.advanceSeconds(15);
    client.timer.tick();
    client.send(frame("HEADERS", whole, 1, okay));

    expect(diary.entries).toEqual(["response 200 and end", "end"]);
  });

  test("drains by opening nothing more and ends after its last stream", () => {
    const client = openBareClient();
    const { diary } = ask(client);

    client.session.drain();
    expect([ask(client).stream, client.session.isClosed]).toEqual([undefined, false]);
    client.send(frame("HEADERS", whole, 1, okay));

    expect([diary.entries.at(-1), client.session.isClosed]).toEqual(["end", true]);
    expect(client.verdicts()).toEqual(["goaway with 0: "]);
  });

  test("drains after the last stream it may carry", () => {
    const client = openBareClient({ streamsPerConnectionMax: 2 });
    ask(client);
    ask(client);

    expect([client.session.isDraining, ask(client).stream]).toEqual([true, undefined]);
  });

  test("is told that a response was complete before the server asked it to send no more", () => {
    const client = openBareClient();
    const diary = new Diary();
    client.session.open(get, false, diary);

    client.send(frame("HEADERS", whole, 1, okay), frame("RST_STREAM", 0, 1, word(0)));

    expect(diary.entries).toEqual(["response 200 and end", "end", "reset 0 by the peer"]);
  });

  test("is told when a deadline of its own has passed, once", () => {
    const client = openBareClient();
    const { diary, stream } = ask(client);

    stream?.waitAtMost(2_000);
    for (let second = 0; second < 6; second += 1) {
      client.clock.advanceSeconds(1);
      client.timer.tick();
    }

    expect(diary.entries).toEqual(["late"]);
  });

  test("hears nothing of a stream after it has reset it", () => {
    const client = openBareClient();
    const { diary, stream } = ask(client);
    stream?.reset();

    client.send(frame("HEADERS", endHeaders, 1, okay), frame("DATA", end, 1, "00"));

    expect(diary.entries).toEqual([]);
    expect(client.verdicts()).toEqual(["reset 1 with 8"]);
  });
});

describe("a client's connection ends over", () => {
  test.each<[string, Buffer, string]>([
    [
      "a pushed request",
      frame("PUSH_PROMISE", endHeaders, 1, Buffer.concat([word(2), okay])),
      "1: push-forbidden",
    ],
    ["a stream that the server opens", frame("HEADERS", whole, 2, okay), "1: stream-id-invalid"],
    ["a response to no request", frame("HEADERS", whole, 3, okay), "1: stream-idle"],
    ["push allowed by a server", frame("SETTINGS", 0, 0, settings([2, 1])), "1: setting-invalid"],
  ])("%s", (_, bytes, verdict) => {
    const client = openBareClient();
    const { diary } = ask(client);

    client.send(bytes);

    expect(client.verdicts()).toEqual([`goaway with ${verdict}`]);
    expect(diary.entries).toEqual([`reset 1 ${verdict.slice(3)}`]);
  });
});

describe("a response is refused for", () => {
  test.each<[string, Buffer[], string]>([
    ["no status", [frame("HEADERS", whole, 1, block(["a", "b"]))], "pseudo-header-missing"],
    [
      "a status of two digits",
      [frame("HEADERS", whole, 1, block([":status", "20"]))],
      "pseudo-header-invalid",
    ],
    ["101", [frame("HEADERS", endHeaders, 1, block([":status", "101"]))], "pseudo-header-invalid"],
    [
      "two statuses",
      [frame("HEADERS", whole, 1, block([":status", "200"], [":status", "200"]))],
      "pseudo-header-repeated",
    ],
    [
      "a path",
      [frame("HEADERS", whole, 1, block([":status", "200"], [":path", "/"]))],
      "pseudo-header-unknown",
    ],
    [
      "a line end in a value",
      [frame("HEADERS", whole, 1, block([":status", "200"], ["a", "b\r\nc: d"]))],
      "header-field-invalid",
    ],
    [
      "connection",
      [frame("HEADERS", whole, 1, block([":status", "200"], ["connection", "close"]))],
      "header-field-forbidden",
    ],
    ["data before its head", [frame("DATA", 0, 1, "00")], "response-without-head"],
    [
      "an end before its head",
      [frame("HEADERS", whole, 1, block([":status", "103"]))],
      "response-without-head",
    ],
    [
      "a longer body than declared",
      [
        frame("HEADERS", endHeaders, 1, block([":status", "200"], ["content-length", "1"])),
        frame("DATA", 0, 1, "0000"),
      ],
      "content-length-mismatch",
    ],
    [
      "a shorter body than declared",
      [
        frame("HEADERS", endHeaders, 1, block([":status", "200"], ["content-length", "9"])),
        frame("DATA", end, 1, "0000"),
      ],
      "content-length-mismatch",
    ],
    [
      "no body where one was declared",
      [frame("HEADERS", whole, 1, block([":status", "200"], ["content-length", "9"]))],
      "content-length-mismatch",
    ],
    [
      "a body with 204",
      [frame("HEADERS", endHeaders, 1, block([":status", "204"])), frame("DATA", 0, 1, "00")],
      "content-length-mismatch",
    ],
    [
      "a shorter body than declared, before trailers",
      [
        frame("HEADERS", endHeaders, 1, block([":status", "200"], ["content-length", "9"])),
        frame("HEADERS", whole, 1, block(["a", "b"])),
      ],
      "content-length-mismatch",
    ],
    [
      "trailers that do not end it",
      [frame("HEADERS", endHeaders, 1, okay), frame("HEADERS", endHeaders, 1, block(["a", "b"]))],
      "trailers-without-end",
    ],
    [
      "a status in its trailers",
      [frame("HEADERS", endHeaders, 1, okay), frame("HEADERS", whole, 1, okay)],
      "pseudo-header-misplaced",
    ],
  ])("%s", (_, frames, violation) => {
    const client = openBareClient();
    const { diary } = ask(client);

    client.send(...frames);

    expect(diary.entries.at(-1)).toMatch(new RegExp(`^reset \\d+ ${violation}$`));
    expect(client.session.isClosed).toBe(false);
  });
});

test("the answer to a PING keeps a silent connection", () => {
  const client = openBareClient({ pingAfterMillis: 2_000, pingMillis: 2_000 });
  ask(client);
  client.far.take();

  for (let second = 0; second < 30; second += 1) {
    client.clock.advanceSeconds(1);
    client.timer.tick();
    for (const { type, flags, payload } of client.far.take())
      if (type === "PING" && flags === 0) client.send(frame("PING", ack, 0, payload));
  }

  expect(client.session.isClosed).toBe(false);
});
