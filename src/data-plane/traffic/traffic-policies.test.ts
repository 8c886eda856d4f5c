import { describe, expect, test } from "vitest";
import { fakeClock } from "../../../test/fakes/fake-clock.ts";
import { silentLog } from "../../../test/fakes/silent-log.ts";
import type { TrafficRow } from "../../trust-log/index.ts";
import type { ForwardedRequest, Forwarding, ForwardingClient, Upstream } from "../forwarding/index.ts";
import { defaultHttp1Limits, noEdits, scanRequestHead } from "../http1/index.ts";
import { ExhaustedTraces } from "./exhausted-traces.ts";
import { TrafficPolicies } from "./traffic-policies.ts";

const rows = new Map<string, TrafficRow>();
const uncounted = { add: (): void => {} };
const clock = fakeClock();
const policies = new TrafficPolicies({
  rows: () => rows,
  clock,
  log: silentLog,
  counts: { retries: uncounted, timeouts: uncounted, mirrored: uncounted, faults: uncounted },
  exhausted: new ExhaustedTraces(clock),
  upstreamOf: () => undefined,
  random: () => 0,
});

const forwarding: Forwarding = {
  status: 0,
  responseBytes: 0,
  start: () => {},
  onBody: () => {},
  clientDrained: () => {},
  fail: () => {},
  abort: () => {},
  onDeadline: () => {},
};
const upstream: Upstream = { begin: () => forwarding };
const client: ForwardingClient = {
  onBodyWanted: () => {},
  pauseBody: () => {},
  waitAtMost: () => {},
  writeInterim: () => {},
  writeHead: () => true,
  write: () => true,
  onResponded: () => {},
  onFailed: () => {},
};

function requestOf(text: string): ForwardedRequest {
  const window = Buffer.from(`${text}\r\nHost: a\r\n\r\n`, "latin1");
  const request = scanRequestHead(window, 0, window.length, defaultHttp1Limits);
  if (request.kind !== "head") throw new Error(text);
  return {
    client,
    request,
    edits: noEdits,
    limits: defaultHttp1Limits,
    firstBody: Buffer.alloc(0),
    end: undefined,
  };
}

type Policy = Omit<TrafficRow, "protocol" | "routes">;

const onlyRetries: Policy = { retries: { retriesMax: 1, on: ["503"], methods: [] } };
const everything: Policy = { ...onlyRetries, timeoutMillis: 5 };

describe("a request goes its way as if there was no policy", () => {
  test("where its service has none", () => {
    rows.clear();
    expect(policies.over("/a", upstream)).toBe(upstream);
    rows.set("/b", { protocol: "http", routes: [], ...everything });
    expect(policies.over("/a", upstream)).toBe(upstream);
    expect(policies.over("/b", upstream)).not.toBe(upstream);
  });

  test.each([
    [
      "where it opens a tunnel",
      everything,
      "GET / HTTP/1.1\r\nConnection: upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==",
      true,
    ],
    ["where the policy says nothing of its method", onlyRetries, "POST / HTTP/1.1", true],
    ["where the policy says nothing of its path", {}, "GET /b HTTP/1.1", true],
    ["and not otherwise", everything, "GET / HTTP/1.1", false],
  ])("%s", (_, row, text, isPlain) => {
    const fault = { percent: 100, status: 503 };
    const routes = isPlain ? [{ methods: [], paths: ["/other"], fault }] : [];
    rows.set("/a", { protocol: "http", routes, ...row });

    expect(policies.over("/a", upstream).begin(requestOf(text)) === forwarding).toBe(isPlain);
  });
});

test("a policy is made ready once for all requests until it, or the way, is another", () => {
  const row: TrafficRow = { protocol: "http", routes: [], timeoutMillis: 5 };
  rows.set("/a", row);
  const first = policies.over("/a", upstream);
  expect(policies.over("/a", upstream)).toBe(first);
  rows.set("/a", { ...row });
  const second = policies.over("/a", upstream);
  expect(second).not.toBe(first);
  expect(policies.over("/a", { begin: () => forwarding })).not.toBe(second);
});
