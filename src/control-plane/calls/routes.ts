import type { ConnectRouter } from "@connectrpc/connect";
import { Admin, Admission, Mesh } from "../../protocol/index.ts";
import { adminReadCalls } from "./admin-read-calls.ts";
import { adminWriteCalls } from "./admin-write-calls.ts";
import { admissionCalls } from "./admission-calls.ts";
import { meshCalls } from "./mesh-calls.ts";
import type { ControlPlaneParts } from "./parts.ts";
import { sessionCalls } from "./session-calls.ts";

/** The calls of a control plane: for agents, for newcomers, for people. */
export function routesOf(parts: ControlPlaneParts): (router: ConnectRouter) => void {
  return (router) => {
    router.service(Mesh, meshCalls(parts));
    router.service(Admission, admissionCalls(parts));
    router.service(Admin, {
      ...adminReadCalls(parts),
      ...adminWriteCalls(parts),
      ...sessionCalls(parts),
    });
  };
}

/** The calls that a session of a web browser may make: those that change nothing. */
export function sessionRoutesOf(parts: ControlPlaneParts): (router: ConnectRouter) => void {
  return (router) => {
    router.service(Admin, adminReadCalls(parts));
  };
}
