export {
  type AccessDecision,
  type AccessReason,
  type AccessRequest,
  type AccessRule,
  covers,
  decideAccess,
  decideAnyAccess,
  decideTcpAccess,
  evaluatorVersion,
  isBelow,
  type TcpAccess,
} from "./decide-access.ts";
