import type { ConnectRouter } from "@connectrpc/connect";
import { Admin, Admission, Mesh } from "../../protocol/index.ts";
import { adminCalls } from "./admin-calls.ts";
import { admissionCalls } from "./admission-calls.ts";
import { meshCalls } from "./mesh-calls.ts";
import type { ControlPlaneParts } from "./parts.ts";

/** The calls of a control plane: for agents, for newcomers, for operators. */
export function routesOf(parts: ControlPlaneParts): (router: ConnectRouter) => void {
  return (router) => {
    router.service(Mesh, meshCalls(parts));
    router.service(Admission, admissionCalls(parts));
    router.service(Admin, adminCalls(parts));
  };
}
