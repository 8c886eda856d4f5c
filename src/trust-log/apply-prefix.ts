import { bytesOfBase64, hexOf } from "../base/bytes.ts";
import { fail, ok, type Refusal } from "../base/result.ts";
import { p256PublicKey, parseCertificate, sha256 } from "../crypto/index.ts";
import { type Applied, epochSeconds, isPast } from "./applied.ts";
import { quarantineProblem } from "./apply-standing.ts";
import type { EntryBody } from "./entry-kinds.ts";
import type { EntryPlace } from "./fold.ts";
import { isSignedDelegation } from "./prefix-delegation.ts";
import { componentsOf, isWithin } from "./prefix-match.ts";
import type { PrefixRow, TrustState } from "./trust-state.ts";

/** Grants and delegations of one trust domain. */
export const prefixGrantsMax = 65_536;
/** Of one grant of the prefix authority, at any depth: so much goes at most when it is withdrawn. */
const delegationsMax = 1_024;
/** Of a service's name, and so of everything that can be asked for. */
const componentsMax = 16;

type Conflict = Refusal<"conflict" | "malformed-body"> | undefined;

/** Grants a prefix to a service; to the same one again with other bounds, which its delegations must fit in. */
export function applyPrefixGrant(
  state: TrustState,
  { prefix, ...granted }: EntryBody<"prefix.grant">,
  { size: index }: EntryPlace,
): Applied {
  const problem = grantProblem(state, prefix, granted);
  if (problem !== undefined) return problem;
  state.prefixes.set(prefix, { ...granted, index, under: "", sequence: 0 });
  withdrawUnfit(state, prefix);
  return ok(true);
}

/** Takes a prefix from whoever holds it, with all that was handed on of it. */
export function applyPrefixWithdrawal(state: TrustState, { prefix }: EntryBody<"prefix.withdraw">): Applied {
  return withdraw(state, prefix) ? ok(true) : fail("conflict", `${prefix} is granted to nobody`);
}

/** Hands a part of a prefix on, as its holder has signed: never more than the holder has. */
export function applyDelegation(
  state: TrustState,
  body: EntryBody<"prefix.delegate">,
  { size: index }: EntryPlace,
): Applied {
  const { under, prefix, holder, depthMax, mayDelegate, notAfterSeconds } = body;
  const parent = signedGrant(state, body);
  if (!parent.ok) return parent;
  const granted = { holder, depthMax, mayDelegate, notAfterSeconds };
  const problem = grantProblem(state, prefix, granted);
  if (problem !== undefined) return problem;
  const known = state.prefixes.get(prefix);
  if (known !== undefined && known.under !== under)
    return fail(
      "conflict",
      `${prefix} was granted by ${known.under === "" ? "the prefix authority" : `the holder of ${known.under}`}`,
    );
  const row = { ...granted, index, under, sequence: 0 };
  if (!isWithin(parent.value, under, row, prefix))
    return fail("conflict", `more than ${parent.value.holder} has of ${under} itself, or may hand on`);
  const root = rootOf(state, under);
  if (known === undefined && state.prefixes.subtreeOf(root).size > delegationsMax)
    return fail("conflict", `${delegationsMax} prefixes are handed on of ${root}, and no more can be`);
  state.prefixes.set(under, { ...parent.value, sequence: body.sequence });
  state.prefixes.set(prefix, row);
  withdrawUnfit(state, prefix);
  return ok(true);
}

/** Takes back what was handed on, as the holder of the prefix above has signed. */
export function applyRecall(state: TrustState, body: EntryBody<"prefix.recall">): Applied {
  const parent = signedGrant(state, body);
  if (!parent.ok) return parent;
  if (state.prefixes.get(body.prefix)?.under !== body.under)
    return fail("conflict", `${body.prefix} is not handed on from ${body.under}`);
  state.prefixes.set(body.under, { ...parent.value, sequence: body.sequence });
  withdraw(state, body.prefix);
  return ok(true);
}

/** Withdraws all prefixes of a service that is none any more. */
export function withdrawAllOf(state: TrustState, service: string): void {
  for (const [prefix, { holder }] of state.prefixes.entries())
    if (holder === service) withdraw(state, prefix);
}

/** Withdraws what has ended, by the time of the epoch that has just begun. */
export function expirePrefixes(state: TrustState): void {
  for (const prefix of state.prefixes.endedBefore(epochSeconds(state))) withdraw(state, prefix);
}

/** Why a service of this name cannot be: the name is somebody's prefix. */
export function nameProblem(state: TrustState, name: string): Refusal<"conflict"> | undefined {
  const held = state.prefixes.get(name);
  if (held === undefined || held.holder === name) return undefined;
  return fail("conflict", `the prefix ${name} is granted to ${held.holder}; withdraw it first`);
}

function grantProblem(
  state: TrustState,
  prefix: string,
  granted: Pick<PrefixRow, "holder" | "depthMax" | "notAfterSeconds">,
): Conflict {
  const { holder, depthMax, notAfterSeconds } = granted;
  if (/^\/troth(\/|$)/.test(prefix))
    return fail("malformed-body", "/troth is reserved for the mesh's own processes");
  if (componentsOf(prefix) + depthMax > componentsMax)
    return fail("malformed-body", `a name has ${componentsMax} components at most`);
  if (!state.services.has(holder)) return fail("conflict", `no service ${holder}`);
  if (prefix !== holder && state.services.has(prefix))
    return fail("conflict", `${prefix} is a registered service, whose own name it is`);
  const known = state.prefixes.get(prefix);
  if (known !== undefined && known.holder !== holder)
    return fail("conflict", `${prefix} is granted to ${known.holder}; withdraw it first`);
  if (known === undefined && state.prefixes.size >= prefixGrantsMax)
    return fail("conflict", `there are ${prefixGrantsMax} prefix grants, and no more can be`);
  if (notAfterSeconds !== 0 && isPast(state, notAfterSeconds)) return fail("conflict", "ended already");
  return undefined;
}

/**
 * The grant that a statement of its holder is about: of this very grant and not of an earlier one of the same prefix,
 * said next after all that it said before, and signed by the present SVID of an instance of the holder.
 */
function signedGrant(state: TrustState, body: EntryBody<"prefix.delegate"> | EntryBody<"prefix.recall">) {
  const { under, grant, sequence, instance } = body;
  const parent = state.prefixes.get(under);
  if (parent === undefined || parent.index !== grant) return fail("conflict", `no such grant of ${under}`);
  const next = parent.sequence + 1;
  // Were any higher number taken, one word of one instance could leave the others none to use.
  if (sequence !== next)
    return fail(
      "conflict",
      `number ${sequence} under ${under}, where ${next} is next; ask again if somebody else was faster`,
    );
  const row = state.instances.get(instance);
  if (row?.service !== parent.holder)
    return fail("conflict", `${instance} is no instance of ${parent.holder}`);
  const quarantined = quarantineProblem(state, instance);
  if (quarantined !== undefined) return quarantined;
  return signerProblem(state, body) ?? ok(parent);
}

/** The certificate must be of the instance and in force, its key the instance's present one, the signature by that key. */
function signerProblem(
  state: TrustState,
  body: EntryBody<"prefix.delegate"> | EntryBody<"prefix.recall">,
): Conflict {
  const der = bytesOfBase64(body.certificate) ?? new Uint8Array(0);
  if (state.certificates.get(hexOf(sha256(der)))?.instance !== body.instance)
    return fail("conflict", `no certificate of ${body.instance} that is in force`);
  const parsed = parseCertificate(der);
  const keyInfo = parsed.ok ? parsed.value.publicKeyInfo : new Uint8Array(0);
  const key = p256PublicKey(keyInfo);
  const isPresent = hexOf(sha256(keyInfo)) === state.instances.get(body.instance)?.keySha256;
  return key !== undefined && isPresent && isSignedDelegation(state.genesis?.genesis ?? "", body, key)
    ? undefined
    : fail("malformed-body", "the holder's instance did not sign this");
}

/** The grant of the prefix authority's that a prefix was handed on from, over however many holders. */
function rootOf(state: TrustState, prefix: string): string {
  const under = state.prefixes.get(prefix)?.under ?? "";
  return under === "" ? prefix : rootOf(state, under);
}

function withdraw(state: TrustState, prefix: string): boolean {
  if (!state.prefixes.has(prefix)) return false;
  for (const one of state.prefixes.subtreeOf(prefix)) state.prefixes.delete(one);
  return true;
}

/** A grant that was replaced by a smaller one takes along what no longer fits in it. */
function withdrawUnfit(state: TrustState, prefix: string): void {
  const parent = state.prefixes.get(prefix);
  for (const part of state.prefixes.partsOf(prefix)) {
    const row = state.prefixes.get(part);
    if (parent === undefined || row === undefined || !isWithin(parent, prefix, row, part))
      withdraw(state, part);
  }
}
