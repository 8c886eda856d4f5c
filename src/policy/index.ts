export {
  type AccessDecision,
  type AccessReason,
  type AccessRequest,
  type AccessRule,
  decideAccess,
  evaluatorVersion,
} from "./decide-access.ts";
