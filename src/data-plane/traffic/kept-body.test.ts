import fc from "fast-check";
import { expect, test } from "vitest";
import { KeptBody, keptBodyBytesMax } from "./kept-body.ts";

test("what is kept of a body is what came, in its order, or nothing", () => {
  const piece = fc.uint8Array({ maxLength: 3_000 }).map((bytes) => Buffer.from(bytes));
  fc.assert(
    fc.property(piece, fc.array(piece, { maxLength: 150 }), (first, rest) => {
      const kept = new KeptBody(first, undefined);
      for (const body of rest) kept.add(body, undefined);
      const all = Buffer.concat([first, ...rest]);

      expect(kept.isWhole).toBe(all.length <= keptBodyBytesMax);
      expect(kept.joined().equals(kept.isWhole ? all : Buffer.alloc(0))).toBe(true);
    }),
    { numRuns: 60 },
  );
});
