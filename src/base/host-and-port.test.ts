import { expect, it } from "vitest";
import { hostAndPort } from "./host-and-port.ts";

it("takes the last colon for the one before the port", () => {
  expect(hostAndPort("localhost:7443")).toEqual({ host: "localhost", port: 7443 });
  expect(hostAndPort("::1:7443")).toEqual({ host: "::1", port: 7443 });
});
