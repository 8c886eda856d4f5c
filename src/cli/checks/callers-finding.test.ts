import { expect, it } from "vitest";
import { callersFinding } from "./directory-checks.ts";

const [told, untold] = [{ tellsCallers: true }, { tellsCallers: false }];

it("warns where the platform does not tell who calls, and says what that means", () => {
  expect(callersFinding(untold, untold)).toMatchObject({
    isWarning: true,
    error: expect.stringContaining("every process of this machine can call in the name of a service"),
  });
});

it("warns where it does not tell who calls at a Unix socket", () => {
  expect(callersFinding(told, untold)).toMatchObject({
    isWarning: true,
    error: expect.stringContaining("ss is not installed"),
    command: "apt-get install -y iproute2",
  });
});

it("finds nothing where it tells both", () => {
  expect(callersFinding(told, told)).toBeUndefined();
});
