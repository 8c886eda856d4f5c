import { expect, it } from "vitest";
import { callersFinding } from "./directory-checks.ts";

it("warns where the platform does not tell who calls, and says what that means", () => {
  expect(callersFinding({ tellsCallers: false })).toMatchObject({
    isWarning: true,
    error: expect.stringContaining("every process of this machine can call in the name of a service"),
  });
});

it("finds nothing where it does", () => {
  expect(callersFinding({ tellsCallers: true })).toBeUndefined();
});
