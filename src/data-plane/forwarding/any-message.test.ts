import type { Socket } from "node:net";
import fc from "fast-check";
import { expect, test } from "vitest";
import { openHop, openUpstream, RawClient, until } from "../../../test/fuzz/http1-hop.ts";
import {
  anyRequest,
  anyResponse,
  cut,
  type Meaning,
  readRequest,
  readResponse,
  type WrittenMessage,
} from "../../../test/fuzz/http1-messages.ts";
import { openLinkHop } from "../../../test/fuzz/link-hop.ts";

const anyExchange = anyRequest.chain((request) =>
  fc.record({
    request: fc.constant(request),
    response: anyResponse(request.text.slice(0, request.text.indexOf(" "))),
  }),
);

test.each([
  ["one proxy", openHop],
  ["two proxies with HTTP/2 between them", openLinkHop],
])(
  "any request and its response mean the same behind %s, however they are written",
  async (_, open) => {
    let response: WrittenMessage | undefined;
    const received: Meaning[] = [];
    const readTo: number[] = [];
    await using upstream = await openUpstream((socket, text, index) => {
      const from = readTo[index] ?? 0;
      const request = readRequest(text.slice(from));
      if (request === undefined || response === undefined) return;
      received.push(request.meaning);
      readTo[index] = from + request.end;
      void answer(socket, response);
    });
    await using hop = await open(upstream.port);

    await fc.assert(
      fc.asyncProperty(anyExchange, async (exchange) => {
        const { request } = exchange;
        ({ response } = exchange);
        received.length = 0;
        using client = new RawClient(hop.port);
        await answer(client.socket, { ...request, endsByClosing: false });
        const isHead = request.text.startsWith("HEAD");
        let heard: ReturnType<typeof readResponse>;
        await until(() => (heard = readResponse(client.text, isHead)) !== undefined || client.isClosed);

        expect(received).toEqual([request.meaning]);
        expect(heard?.meaning).toEqual(isHead ? response.meaning : expectedOf(response, heard?.meaning));
        expect(heard?.end).toBe(client.text.length);
        // And nothing is left on the way for the next.
        client.text = "";
        response = plain;
        client.send("GET /next HTTP/1.1\r\nHost: a\r\n\r\n");
        await until(() => client.text.endsWith("next"));
        expect(received.map(({ start }) => start)).toEqual([request.meaning.start, "GET /next"]);
      }),
      { numRuns: 250 },
    );
    expect(hop.faults).toEqual([]);
    expect("events" in hop ? hop.events.filter(({ error }) => error !== undefined) : []).toEqual([]);
  },
  120_000,
);

const plain: WrittenMessage = {
  text: "HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nnext",
  cuts: [],
  endsByClosing: false,
  meaning: { start: "200", interim: [], fields: [], contentLength: 4, body: "next", trailers: [] },
};

/** A proxy may say the length of an empty body, which nobody had declared; of one that is not there it may not. */
function expectedOf({ meaning }: WrittenMessage, heard: Meaning | undefined): Meaning {
  const isThere = meaning.start !== "204" && meaning.start !== "304";
  const isUndeclared = isThere && meaning.body === "" && meaning.contentLength === undefined;
  return isUndeclared && heard?.contentLength === 0 ? { ...meaning, contentLength: 0 } : meaning;
}

async function answer(socket: Socket, message: WrittenMessage): Promise<void> {
  socket.setNoDelay(true);
  for (const piece of cut(message)) {
    socket.write(Buffer.from(piece, "latin1"));
    await new Promise((resolve) => setImmediate(resolve));
  }
  if (message.endsByClosing) socket.end();
}
