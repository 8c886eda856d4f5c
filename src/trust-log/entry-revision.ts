/** The version in which every kind of entry is written and understood. */
export const entryVersion = 1;

/**
 * Which of all kinds a software folds: it has those that came with this number or an earlier one. Goes up by one where
 * a version adds a kind, or lets the body of one hold more; what has it is named in {@link revisionOf}.
 */
export const entryRevision = 4;

/** What came later than the first revision. */
const laterKinds: ReadonlyMap<string, number> = new Map([
  ["traffic.put", 2],
  ["traffic.remove", 2],
  ["node.zone", 2],
  ["svid.put", 3],
  ["workload.put", 3],
  ["workload.remove", 3],
  ["instance.revoke", 3],
  ["instance.lock", 3],
  ["instance.renew", 3],
  ["svid.revoke", 3],
  ["token.revoke", 3],
  ["service.hold", 3],
  ["service.lift", 3],
  ["node.hold", 3],
  ["node.lift", 3],
  ["jwk.put", 3],
  ["ca.activate", 3],
  ["ca.taint", 3],
  ["ca.revoke", 3],
  ["federation.put", 3],
  ["federation.bundle", 3],
  ["federation.remove", 3],
  ["remote.put", 3],
  ["remote.remove", 3],
  ["foreignrule.put", 3],
  ["foreignrule.remove", 3],
  ["requesttoken.put", 4],
  ["requesttoken.remove", 4],
  ["prefix.grant", 4],
  ["prefix.withdraw", 4],
  ["prefix.delegate", 4],
  ["prefix.recall", 4],
  ["instance.degrade", 4],
  ["instance.quarantine", 4],
  ["instance.release", 4],
  ["instance.judge", 4],
]);

/** The revision that a follower must have in order to fold an entry of a kind; without it, it stops before the entry. */
export function revisionOf(kind: string): number {
  return laterKinds.get(kind) ?? 1;
}
