import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { refusedBodies } from "../../../test/fuzz/http1-refused-requests.ts";
import { BodyCursor } from "./body-framing.ts";
import { ChunkedBody } from "./chunked-body.ts";

const next = "GET /next";

describe("a chunked body", () => {
  test.each(refusedBodies)("is refused for %s, wherever the reads split it", (_, text, reason) => {
    const step = text.length > 1_000 ? 97 : 1;
    for (let split = 0; split <= text.length; split += step)
      expect(read([text.slice(0, split), text.slice(split)])).toMatchObject({ reason });
    expect(read(text.split(""))).toMatchObject({ reason });
  });

  test("gives the same data and the same end over every split in three", () => {
    const text = `5\r\nhello\r\n00A\r\n0123456789\r\n1\r\n\r\r\n0\r\n\r\n${next}`;
    const whole = {
      data: "hello0123456789\r",
      payloadBytes: 16,
      rest: next,
      isComplete: true,
      reason: undefined,
    };

    for (let first = 0; first <= text.length; first += 1)
      for (let second = first; second <= text.length; second += 1)
        expect(read([text.slice(0, first), text.slice(first, second), text.slice(second)])).toEqual(whole);
  });

  test("gives back any data in any chunks over any split", () => {
    const chunk = fc.string({ minLength: 1, maxLength: 40, unit: "binary-ascii" });
    fc.assert(
      fc.property(
        fc.array(chunk, { maxLength: 6 }),
        fc.array(fc.nat(60), { maxLength: 12 }),
        (chunks, cuts) => {
          const coded = `${chunks.map((data) => `${data.length.toString(16)}\r\n${data}\r\n`).join("")}0\r\n\r\n${next}`;
          const pieces: string[] = [];
          let from = 0;
          for (const cut of cuts) {
            pieces.push(coded.slice(from, from + cut));
            from += cut;
          }
          pieces.push(coded.slice(from));

          expect(read(pieces)).toMatchObject({ data: chunks.join(""), rest: next, isComplete: true });
        },
      ),
      { numRuns: 2_000 },
    );
  });

  test("is not complete before its last line feed", () => {
    const text = "1\r\na\r\n0\r\n\r\n";
    for (let end = 0; end < text.length; end += 1) expect(read([text.slice(0, end)]).isComplete).toBe(false);
  });

  test("holds the largest size of eight digits without losing a bit", () => {
    const body = new ChunkedBody();

    body.advance(Buffer.from("ffffffff\r\nabc"), 0, 13);

    expect(body).toMatchObject({ payloadBytes: 3, refusal: undefined });
  });
});

describe("a body", () => {
  test.each([
    [{ kind: "length", bytes: 4 } as const, "abcd"],
    [{ kind: "chunked" } as const, "4\r\nabcd\r\n0\r\n\r\n"],
    [{ kind: "until-close" } as const, "abcd"],
  ])(
    "of the framing %j counts its bytes and is refused beyond the limit: body-too-large",
    (framing, text) => {
      const fitting = new BodyCursor(framing, 4);
      const tooLarge = new BodyCursor(framing, 3);

      expect(fitting.advance(Buffer.from(text), 0, text.length)).toBe(text.length);
      expect(tooLarge.advance(Buffer.from(text), 0, text.length)).toBe(-1);
      expect(fitting.payloadBytes).toBe(4);
      expect([tooLarge.refusal, tooLarge.isComplete]).toEqual(["body-too-large", false]);
    },
  );

  test("of a length ends there and takes nothing of the next request", () => {
    const body = new BodyCursor({ kind: "length", bytes: 3 }, 10);

    expect(body.advance(Buffer.from("ab"), 0, 2)).toBe(2);
    expect(body.isComplete).toBe(false);
    expect(body.advance(Buffer.from("cGET"), 0, 4)).toBe(1);
    expect(body.isComplete).toBe(true);
    expect(body.advance(Buffer.from("GET"), 0, 3)).toBe(0);
  });
});

function read(pieces: readonly string[]): {
  data: string;
  payloadBytes: number;
  rest: string;
  isComplete: boolean;
  reason: string | undefined;
} {
  const body = new ChunkedBody();
  let data = "";
  let rest = "";
  for (const piece of pieces) {
    const end = body.advance(Buffer.from(piece, "latin1"), 0, piece.length);
    for (let index = 0; index < body.spans.length; index += 2)
      data += piece.slice(body.spans[index], body.spans[index + 1]);
    if (body.isComplete) rest += piece.slice(end);
  }
  return { data, payloadBytes: body.payloadBytes, rest, isComplete: body.isComplete, reason: body.refusal };
}
