import { once } from "node:events";
import http from "node:http";
import { setTimeout as sleep } from "node:timers/promises";
import { defaultHttp1Limits } from "../../../src/data-plane/http1/index.ts";
import { openLinkHop } from "../../fuzz/link-hop.ts";
import { type Claim, failed, ok } from "../claim.ts";

const hourSeconds = 3_600;
/** Often enough for the questions and answers by which the two ends of a connection know each other alive. */
const stepSeconds = 9;
const waitMillisMax = 5_000;

export const claim: Claim = {
  text: "server-sent events leave one by one, and come after an hour without any; a stream that is silent for longer than it may be is cut so that its client knows",
  run: async () => {
    const responses: http.ServerResponse[] = [];
    const app = http.createServer((_request, response) => {
      response.writeHead(200, { "content-type": "text/event-stream" });
      response.write(event(0));
      responses.push(response);
    });
    app.listen(0, "127.0.0.1");
    await once(app, "listening");
    const address = app.address();
    const port = typeof address === "object" && address !== null ? address.port : 0;
    await using hop = await openLinkHop(port, { app: "http1" });
    const client = await listenTo(hop.port);
    const pass = async (seconds: number): Promise<void> => {
      for (let left = seconds; left > 0; left -= stepSeconds) {
        hop.passSeconds(Math.min(left, stepSeconds));
        await hop.settle();
      }
    };
    try {
      let sent = 1;
      for (; sent <= 20; sent += 1) {
        responses[0]?.write(event(sent));
        if (!(await client.has(event(sent)))) return failed(`event ${sent} did not leave by itself`);
      }
      await pass(hourSeconds);
      responses[0]?.write(event(sent));
      if (!(await client.has(event(sent)))) return failed("nothing came after an hour of silence");
      const limitSeconds = defaultHttp1Limits.eventStreamIdleMillis / 1_000;
      await pass(limitSeconds);
      if (client.isOver()) return failed(`it ended before ${limitSeconds} s of silence`);
      await pass(2 * stepSeconds);
      if (!(await client.isCut())) return failed(`it did not end after ${limitSeconds} s of silence`);
      return ok(
        `${sent} events one by one, an hour of silence, cut after ${limitSeconds / hourSeconds} h of it`,
      );
    } finally {
      client.destroy();
      app.closeAllConnections();
      app.close();
    }
  },
};

function event(number: number): string {
  return `id: ${number}\ndata: something\n\n`;
}

async function listenTo(port: number): Promise<{
  readonly has: (text: string) => Promise<boolean>;
  readonly isOver: () => boolean;
  /** Whether it ends, and not as if that were all. */
  readonly isCut: () => Promise<boolean>;
  readonly destroy: () => void;
}> {
  let text = "";
  let failure: Error | undefined;
  let isOver = false;
  const request = http.get({ port, host: "127.0.0.1", headers: { host: "a" }, agent: false });
  request.on("error", () => {});
  const [response]: http.IncomingMessage[] = await once(request, "response");
  response?.setEncoding("utf8");
  response?.on("data", (chunk: string) => {
    text += chunk;
  });
  response?.on("error", (error) => {
    failure = error;
  });
  response?.on("close", () => {
    isOver = true;
  });
  return {
    has: (wanted) => within(() => text.includes(wanted)),
    isOver: () => isOver,
    isCut: async () => (await within(() => isOver)) && failure !== undefined,
    destroy: () => request.destroy(),
  };
}

async function within(isSo: () => boolean): Promise<boolean> {
  const endMillis = performance.now() + waitMillisMax;
  while (!isSo() && performance.now() < endMillis) await sleep(1);
  return isSo();
}
