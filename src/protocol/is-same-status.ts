import { equals } from "@bufbuild/protobuf";
import { type FollowerStatus, FollowerStatusSchema } from "./generated/troth/v1/mesh_pb.js";

/** Whether a status says nothing new. Staleness is left out: it grows by itself, and ends with a step, which is news. */
export function isSameStatus(status: FollowerStatus, before: FollowerStatus | undefined): boolean {
  return (
    before !== undefined &&
    equals(FollowerStatusSchema, { ...status, stalenessSeconds: 0 }, { ...before, stalenessSeconds: 0 })
  );
}
