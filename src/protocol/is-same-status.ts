import { equals } from "@bufbuild/protobuf";
import { type FollowerStatus, FollowerStatusSchema } from "./generated/troth/v1/mesh_pb.js";

/**
 * Whether a status says nothing new. Staleness is left out: it grows by itself, and ends with a step, which is news. So
 * are measurements where no request has come and the health is what it was: they drift, and go with the next news.
 */
export function isSameStatus(status: FollowerStatus, before: FollowerStatus | undefined): boolean {
  return (
    before !== undefined &&
    status.resources?.health === before.resources?.health &&
    equals(FollowerStatusSchema, withoutDrift(status), withoutDrift(before))
  );
}

function withoutDrift({ resources: _resources, ...status }: FollowerStatus): FollowerStatus {
  return { ...status, stalenessSeconds: 0, called: [] };
}
