export { type FoundedDomain, type FoundingRequest, foundDomain } from "./found-domain.ts";
export { openLogFiles } from "./log-files.ts";
export { type LogKeys, loadLogKeys, requireLogKeys } from "./log-keys.ts";
export { LogWriter } from "./log-writer.ts";
export { type ControlPlane, type ControlPlaneOptions, openControlPlane } from "./open-control-plane.ts";
