export {
  type AccessDecision,
  type AccessReason,
  type AccessRequest,
  type AccessRule,
  covers,
  decideAccess,
  evaluatorVersion,
  isBelow,
} from "./decide-access.ts";
