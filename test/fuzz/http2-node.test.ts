import fc from "fast-check";
import { expect, test } from "vitest";
import {
  anyScript,
  anyScripts,
  askOf,
  nodeThroughBothProxies,
  nodeWithOurClient,
  nodeWithOurServer,
} from "./http2-node.ts";

test.each([
  ["and our server understand each other, whatever runs beside", nodeWithOurServer],
  ["as server and our client understand each other", nodeWithOurClient],
  ["as client and as server understand each other through both proxies", nodeThroughBothProxies],
])("node:http2 %s", { timeout: 60_000 }, async (_, open) => {
  await using pairing = await open();
  await fc.assert(
    fc.asyncProperty(anyScripts, async (scripts) => {
      expect(await pairing.disagreement(scripts)).toBeUndefined();
    }),
    { numRuns: 60 },
  );
});

test("node:http2 may reset streams at any time, and others are not touched", {
  timeout: 60_000,
}, async () => {
  await using pairing = await nodeWithOurServer();
  const { client } = pairing;
  await fc.assert(
    fc.asyncProperty(anyScript, fc.nat(5), async (one, turns) => {
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
  expect(await pairing.disagreement([])).toBeUndefined();
});
