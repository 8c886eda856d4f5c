export {
  type CallerProcess,
  type CallerRefusal,
  type ConnectionEnds,
  endsOf,
  identifyCaller,
  type LocalCaller,
  ownerOfConnection,
  type SocketOwner,
} from "./identify-caller.ts";
export {
  type Membership,
  ProcessTree,
  type Stranger,
  type TreeMark,
  type TreeRefusal,
} from "./process-tree.ts";
export { type ProcessStat, Procfs } from "./procfs.ts";
export { systemProgram } from "./system-program.ts";
export { UnixCallers } from "./unix-callers.ts";
