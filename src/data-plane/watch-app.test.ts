import http from "node:http";
import type { AddressInfo } from "node:net";
import { afterEach, expect, it, vi } from "vitest";
import { silentLog } from "../../test/fakes/silent-log.ts";
import { type HealthCheck, type HealthReason, watchApp } from "./watch-app.ts";

const check: HealthCheck = {
  path: "/healthz",
  intervalMillis: 20,
  timeoutMillis: 200,
  failuresMax: 2,
  successesMin: 2,
};

let answer: http.RequestListener = (_, response) => response.end();
const asked: string[] = [];
const server = http.createServer((request, response) => {
  asked.push(request.url ?? "");
  answer(request, response);
});
const opened: Disposable[] = [];
afterEach(() => {
  for (const one of opened.splice(0)) one[Symbol.dispose]();
  server.closeAllConnections();
  server.close();
});

/** Watches the server, which listens from now on; `next` resolves with the next change. */
async function watch(): Promise<{
  readonly next: () => Promise<readonly [boolean, HealthReason | undefined]>;
}> {
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  const changes: (readonly [boolean, HealthReason | undefined])[] = [];
  let come = (): void => {};
  // oxlint-disable-next-line typescript/no-unsafe-type-assertion -- a server that listens on TCP has such an address
  const { port } = server.address() as AddressInfo;
  const watching = watchApp({ host: "127.0.0.1", port }, { log: silentLog, check }, (isUp, reason) => {
    changes.push([isUp, reason]);
    come();
  });
  opened.push(watching);
  return {
    next: async () => {
      if (changes.length === 0) await new Promise<void>((resolve) => (come = resolve));
      return changes.shift() ?? [false, undefined];
    },
  };
}

it.each<readonly [string, http.RequestListener, HealthReason]>([
  ["answers with 503", (_, response) => void response.writeHead(503).end(), "status-503"],
  ["answers with 404", (_, response) => void response.writeHead(404).end(), "status-404"],
  ["does not answer", () => {}, "timeout"],
  ["breaks off", (request) => void request.socket.destroy(), "connect-failed"],
])("an application that %s is not healthy, and is again once it answers", async (_, failing, reason) => {
  answer = (_request, response) => response.end();
  const { next } = await watch();
  const first = await next();

  answer = failing;
  const second = await next();
  answer = (_request, response) => response.end();
  const third = await next();

  expect([first, second, third]).toEqual([
    [true, undefined],
    [false, reason],
    [true, undefined],
  ]);
  expect(new Set(asked)).toEqual(new Set(["/healthz"]));
});

it("leaves an application that fails once in a while healthy", async () => {
  let count = 0;
  answer = (_request, response) => {
    count += 1;
    response.writeHead(count > 4 && count % 2 === 0 ? 500 : 200).end();
  };
  const { next } = await watch();
  const first = await next();
  let hasChanged = false;
  void next().then(() => (hasChanged = true));

  await vi.waitUntil(() => count >= 20, { timeout: 10_000 });

  expect(first).toEqual([true, undefined]);
  expect(hasChanged).toBe(false);
});
