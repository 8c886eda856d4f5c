import { openMesh, type RunningMesh } from "./running-mesh.ts";
import { Shared } from "./shared-apparatus.ts";

/** The demo's shop under little load, for all claims that attack it. */
export const demoMesh: Shared<RunningMesh> = new Shared(() =>
  openMesh({ kind: "demo", env: { LOAD_RATE: "5" } }),
);
