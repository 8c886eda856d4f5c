import { create } from "@bufbuild/protobuf";
import { expect, it } from "vitest";
import { SmallTrustLog, serviceBody } from "../../test/fakes/small-trust-log.ts";
import { generateP256 } from "../crypto/index.ts";
import { signAdvertisement } from "../data-plane/index.ts";
import { type FollowerStatus, FollowerStatusSchema } from "../protocol/index.ts";
import { explainedRoute } from "./explained-route.ts";

const [serving, silent, gone] = ["1", "2", "3"].map(
  (digit) => `${digit.repeat(8)}-1111-4111-8111-111111111111`,
);

function playing(): SmallTrustLog {
  const log = new SmallTrustLog();
  log.put("service.put", serviceBody("/media/player"));
  log.put("prefix.grant", {
    prefix: "/media/video",
    holder: "/media/player",
    depthMax: 1,
    mayDelegate: false,
    notAfterSeconds: 0,
  });
  log.putNode("node-1");
  for (const instance of [serving, silent, gone])
    log.put("instance.register", {
      instance: instance ?? "",
      service: "/media/player",
      node: "node-1",
      auditKey: "",
    });
  return log;
}

function follower(log: SmallTrustLog, instance: string, prefixes: readonly string[]): FollowerStatus {
  const address = "127.0.0.1:1";
  const said = { log: log.genesis, instance, address, audience: "", prefixes, sequence: 1, size: 1 };
  const advertisement = signAdvertisement(said, generateP256().privateKey);
  return create(FollowerStatusSchema, { instance, service: "/media/player", address, advertisement });
}

it("names the grant, and of each instance of its holder why it is not asked", () => {
  const log = playing();
  const followers = [
    follower(log, serving ?? "", ["/media/video"]),
    follower(log, silent ?? "", ["/shop/ledger"]),
  ];

  const { match, candidates, whatWouldChangeIt } = explainedRoute(log.state, followers, "/media/video/live");

  expect(match).toEqual({ prefix: "/media/video", holder: "/media/player" });
  expect(candidates.map(({ instance, why }) => [instance, why])).toEqual([
    [serving, ""],
    [
      silent,
      "does not advertise it, and advertises /shop/ledger, which it does not hold: troth run --prefix /media/video",
    ],
    [gone, "serves nowhere now"],
  ]);
  expect(whatWouldChangeIt).toContain("troth prefix revoke /media/video");
});

it("says which grants nearly cover a name, and what would", () => {
  const { state } = playing();

  const { match, near, whatWouldChangeIt } = explainedRoute(state, [], "/media/video/live/now");

  expect(match).toBeUndefined();
  expect(near).toEqual([
    {
      prefix: "/media/video",
      holder: "/media/player",
      why: "covers 1 below, and the name is 2 below",
    },
  ]);
  expect(whatWouldChangeIt).toContain("troth prefix grant /media/video/live/now");
});
