import { create } from "@bufbuild/protobuf";
import { expect, it } from "vitest";
import { type EndpointList, EndpointSchema, mergeEndpoints } from "./index.ts";

function list(isPartial: boolean, ...served: readonly string[]): EndpointList {
  const endpoints = served.map((text) => {
    const [instance = "", address = ""] = text.split("@");
    return create(EndpointSchema, { instance, service: "/a", address });
  });
  return { endpoints, isPartial };
}

it("takes a whole list in place of what is known", () => {
  expect(mergeEndpoints(list(false, "a@1", "b@1"), list(false, "c@1"))).toEqual(list(false, "c@1"));
});

it("adds a partial list to what is known, with newer addresses, and takes nobody away", () => {
  const merged = mergeEndpoints(list(false, "a@1", "b@1"), list(true, "b@2", "c@1"));

  expect(merged).toEqual(list(false, "a@1", "b@2", "c@1"));
});

it("knows a partial list for what it is where nothing was known", () => {
  expect(mergeEndpoints(undefined, list(true, "a@1"))).toEqual(list(true, "a@1"));
  expect(mergeEndpoints(list(true, "a@1"), list(true, "b@1"))).toEqual(list(true, "a@1", "b@1"));
});
