import { create } from "@bufbuild/protobuf";
import { expect, it } from "vitest";
import { FollowerStatusSchema } from "./generated/troth/v1/mesh_pb.js";
import { isSameStatus } from "./is-same-status.ts";

const before = { instance: "a", size: 7n, resources: { health: "healthy", cpuPermille: 10 } };

it.each([
  { what: "nothing is other", change: {}, isSame: true },
  { what: "time has passed", change: { stalenessSeconds: 3 }, isSame: true },
  {
    what: "the application uses more",
    change: { resources: { health: "healthy", cpuPermille: 400, inFlight: 1 } },
    isSame: true,
  },
  { what: "a caller has counted on", change: { called: [{ instance: "b", requests: 5n }] }, isSame: true },
  {
    what: "the application is not healthy any more",
    change: { resources: { health: "unhealthy", cpuPermille: 10 } },
    isSame: false,
  },
  { what: "requests have come", change: { requestsForwarded: 1n }, isSame: false },
  { what: "the log has grown", change: { size: 8n }, isSame: false },
])("where $what, whether it says nothing new is $isSame", ({ change, isSame }) => {
  const after = create(FollowerStatusSchema, { ...before, ...change });

  expect(isSameStatus(after, create(FollowerStatusSchema, before))).toBe(isSame);
});
