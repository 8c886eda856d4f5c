import { expect, it } from "vitest";
import { requireLocalEndpoint } from "./local-endpoint.ts";

it.each([
  ["unix:///run/troth/workload.sock", { kind: "unix", path: "/run/troth/workload.sock" }],
  ["tcp://127.0.0.1:8081", { kind: "tcp", host: "127.0.0.1", port: 8081 }],
  ["tcp://[::1]:0", { kind: "tcp", host: "::1", port: 0 }],
])("reads %s", (text, endpoint) => {
  expect(requireLocalEndpoint(text)).toEqual(endpoint);
});

it.each([
  "unix://relative.sock",
  "/run/workload.sock",
  "tcp://0.0.0.0:8081",
  "tcp://localhost:8081",
  "tcp://127.0.0.1",
  "tcp://127.0.0.1:70000",
  "tcp://10.0.0.1:8081",
])("refuses %s", (text) => {
  expect(() => requireLocalEndpoint(text)).toThrow("--workload-listen takes");
});
