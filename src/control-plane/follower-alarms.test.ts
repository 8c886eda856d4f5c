import { create } from "@bufbuild/protobuf";
import { expect, it, test } from "vitest";
import { fakeClock } from "../../test/fakes/fake-clock.ts";
import { ReportRequestSchema } from "../protocol/index.ts";
import { TrustState } from "../trust-log/index.ts";
import { controlPlaneMetrics } from "./control-plane-metrics.ts";
import { alarmReasons, FollowerRegistry } from "./follower-registry.ts";

test.each([Number.NaN, Number.POSITIVE_INFINITY, Number.NEGATIVE_INFINITY, 0])(
  "an agent whose clock shows %d has told no time, and moves no median",
  (clockSeconds) => {
    const registry = new FollowerRegistry(fakeClock());

    registry.report(new TrustState(), "edge-1", create(ReportRequestSchema, { clockSeconds }));

    expect(registry.clocksAheadSeconds()).toEqual([]);
  },
);

it("tells how far an agent's clock is ahead", () => {
  const clock = fakeClock();
  const registry = new FollowerRegistry(clock);
  const clockSeconds = clock.nowSeconds() + 400;

  registry.report(new TrustState(), "edge-1", create(ReportRequestSchema, { clockSeconds }));

  expect(registry.clocksAheadSeconds()).toEqual([400]);
});

it("counts the control plane's own alarms by reason, however many reasons a node makes up", async () => {
  const clock = fakeClock();
  const metrics = controlPlaneMetrics(clock);
  const registry = new FollowerRegistry(clock, { raised: metrics.alarm });
  for (let made = 0; made < 200; made += 1)
    registry.raiseFor("edge-1", { reason: `made-up-${made}`, detail: "" });

  for (const reason of alarmReasons) registry.raise("/log", reason, "");

  const page = await metrics.registry.metrics();
  for (const reason of alarmReasons)
    expect(page).toContain(`troth_control_plane_alarms_total{reason="${reason}"} 1\n`);
  expect(page.match(/^troth_control_plane_alarms_total/gm)?.length).toBe(alarmReasons.length + 64 + 1);
});

it("keeps the latest 32 alarms of each source, and what is said again once", () => {
  const registry = new FollowerRegistry(fakeClock());
  registry.raise("/log", "log-forked", "long ago");

  for (let count = 0; count < 40; count += 1)
    for (const _ of ["once", "again"]) registry.raiseFor("edge-1", { reason: "made-up", detail: `${count}` });

  const details = registry.alarms().map(({ detail }) => detail);
  expect(details).toHaveLength(33);
  expect(details[0]).toBe("long ago");
  expect(details.at(-1)).toBe("edge-1: 39");
});
