import { describe, expect, test } from "vitest";
import { RouteTable } from "./route-policy.ts";

const table = new RouteTable({
  protocol: "http",
  timeoutMillis: 1,
  retries: { retriesMax: 1, on: ["503"], methods: [] },
  routes: [
    { methods: ["GET"], paths: ["/cards", "/x"], timeoutMillis: 2 },
    {
      methods: [],
      paths: ["/cards"],
      timeoutMillis: 3,
      retries: { retriesMax: 0, on: ["503"], methods: [] },
    },
    { methods: ["PUT"], paths: [], timeoutMillis: 0 },
  ],
});

describe("the route of a request", () => {
  test.each([
    ["GET", "/cards", 2],
    ["GET", "/cards/1", 2],
    ["GET", "/cardsharp", 1],
    ["GET", "/x/", 2],
    ["POST", "/cards/1", 3],
    ["POST", "/x", 1],
    ["PUT", "/anything", Number.POSITIVE_INFINITY],
    ["PUT", "/cards", 3],
  ])("%s %s is the first that fits: a timeout of %s ms", (method, path, millis) => {
    expect(table.for(method, path).timeoutMillis).toBe(millis);
  });

  test("takes over what it does not say from the service, and no retries are none", () => {
    expect(table.for("GET", "/cards").retries?.retriesMax).toBe(1);
    expect(table.for("POST", "/cards").retries).toBeUndefined();
  });

  test("repeats only idempotent methods where none is named", () => {
    const { methods } = table.for("GET", "/").retries ?? {};

    expect([...(methods ?? [])]).toEqual(["GET", "HEAD", "OPTIONS", "PUT", "DELETE"]);
  });
});
