import { expect, test } from "vitest";
import { openUpstream } from "../../../test/fuzz/http1-hop.ts";
import { fieldsOf, openClient } from "../../../test/fuzz/http2-peers.ts";
import { openLinkHop } from "../../../test/fuzz/link-hop.ts";

const request = fieldsOf([":method", "GET"], [":scheme", "http"], [":path", "/a"], [":authority", "a"]);
const busy = "HTTP/1.1 503 Busy\r\nContent-Length: 0\r\nTroth-Retries: exhausted\r\n\r\n";

test.each([
  ["a proxy whose request was repeated in vain", true, true, ["exhausted"]],
  ["a proxy whose request was not", true, false, []],
  ["nobody else", false, true, []],
])("%s is told so, whatever the application says", async (_, isClientProxy, isCovered, told) => {
  await using upstream = await openUpstream((socket) => socket.write(busy));
  await using hop = await openLinkHop(upstream.port, {
    isClientProxy,
    exhausted: { isEmpty: false, covers: () => isCovered },
  });
  using client = await openClient(hop.linkPort);
  const { fields } = await client.ask(request);

  expect(fields.filter(({ name }) => name === "troth-retries").map(({ value }) => value)).toEqual(told);
});
