import fc from "fast-check";
import { expect, test } from "vitest";
import { assaultClient, assaultServer, clientAssault, serverAssault } from "./http2-mutations.ts";

test.each([
  ["server", assaultServer, clientAssault],
  ["client", assaultClient, serverAssault],
])(
  "no stream of frames makes a %s throw, hold too much, or send what is no HTTP/2",
  { timeout: 60_000 },
  (_, send, assault) => {
    let answered = 0;
    const ends = new Set<string | undefined>();
    fc.assert(
      fc.property(assault, (bytes) => {
        const survival = send(bytes);

        expect(survival.complaint).toBeUndefined();
        answered += survival.answered;
        for (const end of survival.ends) ends.add(end);
      }),
      { numRuns: 1_500 },
    );
    // The assaults reach the insides: some messages get through, and connections end for many reasons.
    expect(answered).toBeGreaterThan(100);
    expect(ends.size).toBeGreaterThan(8);
  },
);
