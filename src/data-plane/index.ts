export { openSidecar, type Sidecar } from "./open-sidecar.ts";
export type { SidecarOptions } from "./sidecar-options.ts";
