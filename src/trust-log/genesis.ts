import { base64Of } from "../base/bytes.ts";
import { publicKeyBytes } from "../crypto/index.ts";
import { signEntry } from "./entry.ts";
import { type AuthorRole, type EntryBody } from "./entry-kinds.ts";
import { entryVersion } from "./entry-revision.ts";
import { type NoteSigner, type NoteVerifier, verifierKeyOf } from "./signed-note.ts";
import { defaultStaleness } from "./staleness.ts";
import { foldVersion } from "./trust-state.ts";

/** What the founders of a trust domain decide. */
export interface Founding {
  readonly trustDomain: string;
  readonly isTestDomain: boolean;
  readonly createdAtSeconds: number;
  readonly salt: Uint8Array;
  readonly logKey: NoteVerifier;
  readonly operators: readonly NoteSigner[];
  readonly others: readonly { readonly role: Exclude<AuthorRole, "operator">; readonly key: NoteVerifier }[];
  readonly staleness?: EntryBody<"genesis">["staleness"];
}

const operatorKinds = [
  "log.recover",
  "authority.put",
  "key.put",
  "key.remove",
  "ca.trust",
  "service.put",
  "service.remove",
  "rule.put",
  "rule.remove",
  "node.invite",
  "node.remove",
  "node.zone",
  "traffic.put",
  "traffic.remove",
  "instance.drain",
  "instance.resume",
  "workload.put",
  "workload.remove",
  "instance.revoke",
  "instance.renew",
  "svid.revoke",
  "token.revoke",
  "service.hold",
  "service.lift",
  "node.hold",
  "node.lift",
  "jwk.put",
  "ca.activate",
  "ca.taint",
  "ca.revoke",
  "federation.put",
  "federation.remove",
  "remote.put",
  "remote.remove",
  "foreignrule.put",
  "foreignrule.remove",
  "requesttoken.put",
  "requesttoken.remove",
  "prefix.grant",
  "prefix.withdraw",
  "instance.degrade",
  "instance.quarantine",
  "instance.release",
];
const issuerKinds = [
  "ca.issue",
  "node.join",
  "instance.register",
  "instance.remove",
  "instance.lock",
  "svid.issue",
  "svid.put",
  "federation.bundle",
  "prefix.delegate",
  "prefix.recall",
  "instance.judge",
];

/** Who may write which kind of entry in a new trust domain. A laptop starts as 1-of-1. */
export const defaultGrants: Readonly<Record<string, EntryBody<"genesis">["authority"][string]>> =
  Object.fromEntries([
    ...operatorKinds.map((kind) => [kind, { role: "operator", signatures: 1, approvals: 0 }] as const),
    ...issuerKinds.map((kind) => [kind, { role: "issuer", signatures: 1, approvals: 0 }] as const),
    ["epoch", { role: "sequencer", signatures: 1, approvals: 0 }] as const,
  ]);

/** Entry 0 of a trust log, signed by every operator that it names. */
export function foundTrustLog(founding: Founding): Uint8Array {
  const [founder] = founding.operators;
  if (founder === undefined) throw new RangeError("a trust domain needs an operator");
  const keys = [
    ...founding.operators.map((key) => ({ role: "operator" as const, key })),
    ...founding.others,
  ].map(({ role, key }) => ({ name: key.name, role, publicKey: base64Of(publicKeyBytes(key.publicKey)) }));
  const body = {
    trustDomain: founding.trustDomain,
    createdAtSeconds: founding.createdAtSeconds,
    isTestDomain: founding.isTestDomain,
    salt: base64Of(founding.salt),
    logKey: verifierKeyOf(founding.logKey),
    foldVersion,
    keys,
    authority: defaultGrants,
    staleness: founding.staleness ?? defaultStaleness,
  };
  return signEntry(
    {
      kind: "genesis",
      version: entryVersion,
      log: "",
      author: founder.name,
      sequence: 0,
      expiresAtSeconds: 0,
      body,
    },
    founding.operators,
  );
}
