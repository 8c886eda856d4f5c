import { create } from "@bufbuild/protobuf";
import { expect, it } from "vitest";
import { type Endpoint, type EndpointList, EndpointSchema } from "../protocol/index.ts";
import { type LogSource, serveLog } from "./serve-log.ts";

function endpoint(instance: string, address = "192.0.2.1:1"): Endpoint {
  return create(EndpointSchema, { instance, service: "/shop", address });
}

/** What a follower is sent for one list of endpoints after the other. */
async function sentFor(lists: readonly EndpointList[]): Promise<string[]> {
  const left = [...lists];
  const closing = new AbortController();
  const source: LogSource & { endpoints: EndpointList | undefined } = {
    newest: undefined,
    read: async function* () {},
    snapshot: () => Promise.resolve(undefined),
    endpoints: left.shift(),
    changed: () => {
      source.endpoints = left.shift() ?? source.endpoints;
      return Promise.resolve();
    },
  };
  const sent: string[] = [];
  for await (const { content } of serveLog(
    source,
    { fromSize: 0, acceptsSnapshot: false, isLive: true },
    closing.signal,
  )) {
    if (content.case !== "endpoints") continue;
    const { endpoints, isPartial } = content.value;
    sent.push(`${isPartial ? "more" : "all"} ${endpoints.map(({ instance }) => instance).join("")}`);
    if (sent.length === lists.length) closing.abort();
  }
  return sent;
}

it("sends who serves where once, then only what is new, and all again when somebody has gone", async () => {
  const [a, b, c] = [endpoint("a"), endpoint("b"), endpoint("c")];

  const sent = await sentFor([
    { endpoints: [a], isPartial: true },
    { endpoints: [a, b], isPartial: false },
    { endpoints: [a, b, c], isPartial: false },
    { endpoints: [a, endpoint("b", "192.0.2.1:2"), c], isPartial: false },
    { endpoints: [a, c], isPartial: false },
  ]);

  expect(sent).toEqual(["more a", "all ab", "more c", "more b", "all ac"]);
});
