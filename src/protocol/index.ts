export { NodeSchema as EnvoyNodeSchema } from "./generated/envoy/config/core/v3/base_pb.js";
export {
  CertificateValidationContextSchema,
  type Secret,
  SecretSchema,
  SPIFFECertValidatorConfigSchema,
} from "./generated/envoy/extensions/transport_sockets/tls/v3/secret_pb.js";
export {
  type DiscoveryRequest,
  type DiscoveryResponse,
  DiscoveryResponseSchema,
} from "./generated/envoy/service/discovery/v3/discovery_pb.js";
export { SecretDiscoveryService } from "./generated/envoy/service/secret/v3/sds_pb.js";
export {
  JWTBundlesResponseSchema,
  type JWTSVIDResponse,
  JWTSVIDResponseSchema,
  SpiffeWorkloadAPI,
  type ValidateJWTSVIDResponse,
  ValidateJWTSVIDResponseSchema,
  WITBundlesResponseSchema,
  type WITSVIDResponse,
  WITSVIDResponseSchema,
  type X509BundlesResponse,
  X509BundlesResponseSchema,
  type X509SVIDResponse,
  X509SVIDResponseSchema,
} from "./generated/spiffe/workload_pb.js";
export {
  Admin,
  Admission,
  type Advertisement,
  AdvertisementSchema,
  type Alarm,
  AlarmSchema,
  type AskRequestTokenIssuerRequest,
  AskRequestTokenIssuerRequestSchema,
  type AskRequestTokenIssuerResponse,
  AskRequestTokenIssuerResponseSchema,
  type CalledInstance,
  CalledInstanceSchema,
  type Endpoint,
  EndpointSchema,
  type EndpointSet,
  EndpointSetSchema,
  type FollowerStatus,
  FollowerStatusSchema,
  type FollowRequest,
  type GetStatusResponse,
  GetStatusResponseSchema,
  type InstanceFinding,
  InstanceFindingSchema,
  type IssueSvidRequest,
  type IssueSvidResponse,
  IssueSvidResponseSchema,
  Mesh,
  OwnKeySchema,
  type PrepareAuthorityRequest,
  type PrepareAuthorityResponseSchema,
  type Progress,
  type Proposal,
  type Recovery,
  type ReportRequest,
  ReportRequestSchema,
  type RequestTokenAnswer,
  RequestTokenAnswerSchema,
  type RequestTokenQuestion,
  RequestTokenQuestionSchema,
  type ResourceReport,
  ResourceReportSchema,
  type Update,
  UpdateSchema,
} from "./generated/troth/v1/mesh_pb.js";
export { isSameStatus } from "./is-same-status.ts";
export { formatJoinToken, type JoinToken, parseJoinToken } from "./join-token.ts";
export { type EndpointList, mergeEndpoints } from "./merge-endpoints.ts";
export { calledMax, instancesPerNodeMax } from "./node-limits.ts";
export { type HandedOn, readHandedOn } from "./read-handed-on.ts";
export { isBoundedAdvertisement, isSameAdvertisement } from "./told-advertisement.ts";

/** The version of the protocol between planes that this software speaks. */
export const protocolVersion = 1;
