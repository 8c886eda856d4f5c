export {
  type AccessDecision,
  type AccessReason,
  type AccessRequest,
  type AccessRule,
  covers,
  decideAccess,
  evaluatorVersion,
} from "./decide-access.ts";
