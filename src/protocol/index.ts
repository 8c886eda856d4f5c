export {
  Admin,
  Admission,
  type Alarm,
  AlarmSchema,
  type Endpoint,
  EndpointSchema,
  type FollowerStatus,
  FollowerStatusSchema,
  type GetStatusResponse,
  GetStatusResponseSchema,
  type IssueSvidRequest,
  type IssueSvidResponse,
  IssueSvidResponseSchema,
  Mesh,
  type PrepareAuthorityRequest,
  type PrepareAuthorityResponseSchema,
  type Progress,
  type Proposal,
  type Recovery,
  type ReportRequest,
  ReportRequestSchema,
  type Update,
  UpdateSchema,
} from "./generated/troth/v1/mesh_pb.js";
export { isSameStatus } from "./is-same-status.ts";
export { formatJoinToken, type JoinToken, parseJoinToken } from "./join-token.ts";
export { type EndpointList, mergeEndpoints } from "./merge-endpoints.ts";

/** The version of the protocol between planes that this software speaks. */
export const protocolVersion = 1;
