import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { frame } from "../../../test/fuzz/http2-wire.ts";
import { FrameReader, type FrameSink } from "./frame-reader.ts";

describe("the frame reader", () => {
  test("finds the same frames however the bytes are cut", () => {
    const aFrame = fc.oneof(
      fc.uint8Array({ maxLength: 40 }).map((data) => frame("DATA", 0, 1, data)),
      fc
        .tuple(fc.uint8Array({ maxLength: 40 }), fc.nat(30))
        .map(([data, pad]) => frame("DATA", 8, 1, Buffer.concat([Buffer.of(pad), data, Buffer.alloc(pad)]))),
      fc.uint8Array({ maxLength: 40 }).map((data) => frame("HEADERS", 4, 1, data)),
      fc.uint8Array({ minLength: 8, maxLength: 8 }).map((data) => frame("PING", 0, 0, data)),
      fc.uint8Array({ maxLength: 40 }).map((data) => frame(77, 3, 9, data)),
    );
    fc.assert(
      fc.property(fc.array(aFrame), fc.array(fc.integer({ min: 1, max: 30 })), (frames, cuts) => {
        const bytes = Buffer.concat(frames);

        expect(readIn(bytes, cuts)).toEqual(readIn(bytes, []));
        expect(readIn(bytes, []).violation).toBeUndefined();
      }),
      { numRuns: 1_000 },
    );
  });

  test.each([
    ["a frame larger than was allowed", frame("DATA", 0, 1, Buffer.alloc(101)), "frame-too-large"],
    ["DATA on the connection", frame("DATA", 0, 0), "stream-id-missing"],
    ["DATA that lacks its pad length", frame("DATA", 8, 1), "frame-size-invalid"],
    ["DATA with as much padding as payload", frame("DATA", 8, 1, "0200"), "padding-invalid"],
    ["HEADERS on the connection", frame("HEADERS", 4, 0), "stream-id-missing"],
    ["HEADERS too short for their priority", frame("HEADERS", 36, 1, "00000000"), "frame-size-invalid"],
    ["PRIORITY on the connection", frame("PRIORITY", 0, 0, "0000000000"), "stream-id-missing"],
    ["RST_STREAM on the connection", frame("RST_STREAM", 0, 0, "00000000"), "stream-id-missing"],
    ["RST_STREAM of three bytes", frame("RST_STREAM", 0, 1, "000000"), "frame-size-invalid"],
    ["SETTINGS on a stream", frame("SETTINGS", 0, 1), "stream-id-forbidden"],
    ["SETTINGS of seven bytes", frame("SETTINGS", 0, 0, "00000000000000"), "frame-size-invalid"],
    [
      "an acknowledgement of SETTINGS with content",
      frame("SETTINGS", 1, 0, "000000000000"),
      "frame-size-invalid",
    ],
    ["PUSH_PROMISE", frame("PUSH_PROMISE", 4, 1, "00000002"), "push-forbidden"],
    ["PING on a stream", frame("PING", 0, 1, "0000000000000000"), "stream-id-forbidden"],
    ["PING of seven bytes", frame("PING", 0, 0, "00000000000000"), "frame-size-invalid"],
    ["GOAWAY on a stream", frame("GOAWAY", 0, 1, "0000000000000000"), "stream-id-forbidden"],
    ["GOAWAY of seven bytes", frame("GOAWAY", 0, 0, "00000000000000"), "frame-size-invalid"],
    ["WINDOW_UPDATE of five bytes", frame("WINDOW_UPDATE", 0, 1, "0000000000"), "frame-size-invalid"],
    ["CONTINUATION on the connection", frame("CONTINUATION", 4, 0), "stream-id-missing"],
  ])("refuses %s", (_, bytes, violation) => {
    expect(readIn(bytes, []).violation).toBe(violation);
    expect(
      readIn(
        bytes,
        Array.from(bytes, () => 1),
      ).violation,
    ).toBe(violation);
  });

  test("refuses a frame that is too large before its payload has come", () => {
    const head = frame("HEADERS", 4, 1, Buffer.alloc(101)).subarray(0, 9);

    expect(readIn(head, []).violation).toBe("frame-too-large");
  });
});

function readIn(bytes: Buffer, cuts: readonly number[]): { read: string[]; violation: string | undefined } {
  const read: string[] = [];
  let data = "";
  const sink: FrameSink = {
    onFrame: () => {
      const { type, flags, streamId, window, start, end } = reader;
      read.push(`${type} ${flags} ${streamId} ${window.toString("hex", start, end)}`);
    },
    onDataBegin: () => {
      data = `data ${reader.length} `;
    },
    onDataPiece: () => {
      data += reader.window.toString("hex", reader.start, reader.end);
    },
    onDataEnd: () => {
      read.push(data);
    },
  };
  const reader = new FrameReader(sink, 100);
  let at = 0;
  for (const cut of cuts) {
    reader.read(Buffer.from(bytes.subarray(at, at + cut)));
    at += cut;
  }
  if (at < bytes.length) reader.read(bytes.subarray(at));
  return { read, violation: reader.violation };
}
