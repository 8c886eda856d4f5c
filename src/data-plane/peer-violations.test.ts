import { expect, test } from "vitest";
import { fakeClock } from "../../test/fakes/fake-clock.ts";
import { silentLog } from "../../test/fakes/silent-log.ts";
import { PeerViolations } from "./peer-violations.ts";
import { proxyMetrics } from "./proxy-metrics.ts";

test("counts every violation, and writes one line a connection, 32 of them between two flushes", async () => {
  const lines: unknown[] = [];
  const clock = fakeClock();
  const zero = (): number => 0;
  const gauges = {
    stalenessSeconds: zero,
    treeSize: zero,
    certificateNotAfterSeconds: zero,
    openPeers: zero,
    ejectedInstances: zero,
    appHealthy: zero,
    appInFlight: zero,
    spans: () => ({ exported: 0, dropped: 0 }),
  };
  const metrics = proxyMetrics(gauges, clock);
  const violations = new PeerViolations({
    metrics,
    log: { ...silentLog, warn: (_, attached) => lines.push(attached) },
  });
  const first = violations.of("inbound", "spiffe://test.example/shop/web");
  first("window-exceeded");
  first("stream-idle");
  for (let connection = 0; connection < 40; connection += 1) violations.of("outbound", "x")("stream-idle");
  const before = lines.length;
  violations.flush();
  violations.of("inbound", "y")("stream-idle");

  expect(before).toBe(32);
  expect(lines).toHaveLength(33);
  expect(lines[0]).toEqual({
    direction: "inbound",
    reason: "window-exceeded",
    peer: "spiffe://test.example/shop/web",
  });
  const page = await metrics.page();
  expect(page).toContain('troth_proxy_http2_violations_total{direction="outbound",reason="stream-idle"} 40');
  expect(page).toContain('troth_proxy_http2_violations_total{direction="inbound",reason="stream-idle"} 2');
});
