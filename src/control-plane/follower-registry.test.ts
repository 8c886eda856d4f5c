import { randomUUID } from "node:crypto";
import { create } from "@bufbuild/protobuf";
import { expect, it } from "vitest";
import { fakeClock } from "../../test/fakes/fake-clock.ts";
import { ReportRequestSchema } from "../protocol/index.ts";
import { TrustState } from "../trust-log/index.ts";
import { FollowerRegistry } from "./follower-registry.ts";

it("says how stale a follower is by now: it reports every new epoch, and else only what has changed", () => {
  const clock = fakeClock();
  const registry = new FollowerRegistry(clock);
  const instance = randomUUID();
  const state = new TrustState();
  state.instances.set(instance, {
    service: "/shop/web",
    node: "a",
    auditKey: "",
    isDraining: false,
    registeredAtSeconds: 0,
  });

  registry.report(
    state,
    "a",
    create(ReportRequestSchema, { followers: [{ instance, stalenessSeconds: 2 }] }),
  );
  clock.advanceSeconds(4);
  registry.report(state, "a", create(ReportRequestSchema, {}));

  expect(registry.statuses()).toMatchObject([{ instance, stalenessSeconds: 6 }]);
});
