import { create } from "@bufbuild/protobuf";
import { expect, it } from "vitest";
import { FollowerStatusSchema } from "../protocol/index.ts";
import { proxyStateOf, proxyStateText } from "./proxy-state.ts";

it.each([
  [7, 1, false, "SYNCED"],
  [8, 1, false, "SYNCED"],
  [4, 1, false, "BEHIND 3"],
  [7, 34, false, "STALE 34 s"],
  [4, 34, true, "DRAINING"],
])(
  "calls a proxy at size %i of 7, %i s after the last epoch, draining %s: %s",
  (size, age, isDraining, words) => {
    const follower = create(FollowerStatusSchema, { size: BigInt(size), stalenessSeconds: age });

    expect(proxyStateText(proxyStateOf(follower, 7, isDraining), follower, 7)).toBe(words);
  },
);

it.each([
  [{ isRetiring: true }, "DRAINING"],
  [{ stoppedReason: "unknown-kind", isRetiring: true }, "STOPPED unknown-kind"],
])("calls a proxy that says %j: %s", (said, words) => {
  const follower = create(FollowerStatusSchema, { size: 4n, stalenessSeconds: 99, ...said });

  expect(proxyStateText(proxyStateOf(follower, 7, false), follower, 7)).toBe(words);
});

it("calls a proxy silent that nobody has heard of", () => {
  expect(proxyStateText(proxyStateOf(undefined, 7, false), undefined, 7)).toBe("SILENT");
});
