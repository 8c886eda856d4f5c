import type { Endpoint, EndpointSet } from "./generated/troth/v1/mesh_pb.js";

/** Who serves where, as it is passed on: all who do, or those who are known to so soon after a start. */
export type EndpointList = Pick<EndpointSet, "endpoints" | "isPartial">;

/** What is known after a list has come: a partial one adds, and takes nobody away. */
export function mergeEndpoints(known: EndpointList | undefined, come: EndpointList): EndpointList {
  if (!come.isPartial || known === undefined) return come;
  const merged = new Map<string, Endpoint>();
  for (const endpoint of [...known.endpoints, ...come.endpoints]) merged.set(endpoint.instance, endpoint);
  return { endpoints: [...merged.values()], isPartial: known.isPartial };
}
