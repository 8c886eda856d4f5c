import { expect, it } from "vitest";
import { isRouterService, routerLabels } from "./index.ts";
import { StateTable } from "./state-table.ts";
import type { ServiceRow } from "./trust-state.ts";

it.each([
  ["the label says so", routerLabels, true],
  ["it has none", {}, false],
  ["the label says otherwise", { "troth.role": "sidecar" }, false],
])("knows whether a service is one of routers where %s", (_, labels, expected) => {
  const services = new StateTable<ServiceRow>("services");
  services.set("/mesh/west", { nodes: ["*"], dataClass: "internal", team: "", environment: "", labels });

  expect(isRouterService({ services }, "/mesh/west")).toBe(expected);
  expect(isRouterService({ services }, "/mesh/east")).toBe(false);
});
