import { expect, it, test } from "vitest";
import { type EndpointShown, endpointsIn, stateText } from "./proxy-endpoints.ts";

const well: EndpointShown = {
  service: "/shop/pay",
  instance: "4d7c6759-bbf2-4307-996c-74fe17310b68",
  address: "127.0.0.1:1",
  via: "",
  zone: "eu-1",
  isAvoided: false,
  isDegraded: false,
  standing: "in",
  ejectedFor: "",
  ejectedSeconds: 0,
  ejections: 0,
  inFlight: 0,
};

test.each<[Partial<EndpointShown>, string]>([
  [{}, "in"],
  [{ isAvoided: true }, "left alone: could not be reached"],
  [{ isDegraded: true }, "degraded: others are preferred"],
  [{ standing: "out", ejectedFor: "503", ejectedSeconds: 12, ejections: 1 }, "out for 12 s more: 503"],
  [
    { standing: "out", ejectedFor: "slow", ejectedSeconds: 40, ejections: 3 },
    "out for 40 s more: slow, 3 times lately",
  ],
  [{ standing: "probation", ejectedFor: "timeout", ejections: 1 }, "on probation: was out for timeout"],
])("says of %o: %s", (part, text) => {
  expect(stateText({ ...well, ...part })).toBe(text);
});

it("reads what a proxy says, and nothing that it says in another way", () => {
  const config = { zone: "eu-1", endpoints: { "/shop/pay": [well], "/shop/web": [] } };

  expect(endpointsIn(config)).toEqual({ zone: "eu-1", endpoints: [well] });
  expect(endpointsIn({ endpoints: { "/shop/pay": [{ service: "/shop/pay" }] } })).toBeUndefined();
});
