import { fail, ok, type Refusal } from "../base/result.ts";
import { type Applied, epochSeconds, isPast } from "./applied.ts";
import { forgetStanding, quarantineProblem } from "./apply-standing.ts";
import { revokedKeyIds } from "./authority-status.ts";
import type { EntryBody, RevocationReason } from "./entry-kinds.ts";
import type { CertificateRow, InstanceRow, TrustState } from "./trust-state.ts";

/** An entry may bind a certificate for at most this long (S2: 24 hours), plus the clock allowance of issuing it. */
const certificateSecondsMax = 86_400 + 60;
/** An issuer's clock may be this far ahead of the last epoch. */
const issuerAheadSecondsMax = 600;

/** Lets an instance of a service be, on a node where it may. */
export function applyRegistration(state: TrustState, body: EntryBody<"instance.register">): Applied {
  const service = state.services.get(body.service);
  if (service === undefined) return fail("conflict", `no service ${body.service}`);
  if (!state.nodes.has(body.node)) return fail("conflict", `no node ${body.node}`);
  if (!runsOn(service, body.node)) return fail("conflict", `${body.service} may not run on ${body.node}`);
  if (state.instances.has(body.instance)) return fail("conflict", "this instance exists");
  if (state.revocations.has(`instance:${body.instance}`))
    return fail("conflict", "this instance was revoked");
  const held = holdOf(state, body) ?? quarantineProblem(state, body.instance);
  if (held !== undefined) return held;
  state.instances.set(body.instance, {
    service: body.service,
    node: body.node,
    auditKey: body.auditKey,
    registeredAtSeconds: epochSeconds(state),
    isDraining: false,
  });
  return ok(true);
}

/** Says whether anything new is to be sent to an instance. */
export function applyDraining(state: TrustState, instance: string, isDraining: boolean): Applied {
  const row = state.instances.get(instance);
  if (row === undefined) return fail("conflict", `no instance ${instance}`);
  const quarantined = quarantineProblem(state, instance);
  if (quarantined !== undefined) return quarantined;
  if (row.isDraining === isDraining)
    return fail("conflict", isDraining ? "draining already" : "not draining");
  state.instances.set(instance, { ...row, isDraining });
  return ok(true);
}

/** Makes a certificate known as one of an instance. */
export function applyIssuance(
  state: TrustState,
  body: EntryBody<"svid.issue"> | EntryBody<"svid.put">,
): Applied {
  if (state.certificates.has(body.certificate)) return fail("conflict", "this certificate is known");
  if (body.notAfterSeconds - body.notBeforeSeconds > certificateSecondsMax)
    return fail("malformed-body", "over 24 hours");
  if (body.notAfterSeconds < body.notBeforeSeconds || isPast(state, body.notAfterSeconds))
    return fail("conflict", "never valid, or not any more");
  // Else whoever has the issuer's key for a moment could write certificates for years ahead.
  if (body.notAfterSeconds > epochSeconds(state) + certificateSecondsMax + issuerAheadSecondsMax)
    return fail("conflict", "ends too far after the present epoch");
  const instance = state.instances.get(body.instance);
  if (instance === undefined) return fail("conflict", `no instance ${body.instance}`);
  const quarantined = quarantineProblem(state, body.instance);
  if (quarantined !== undefined) return quarantined;
  // The one SPIFFE ID that a certificate of this instance may bear follows from what it is registered as.
  const expected = `spiffe://${state.genesis?.trustDomain}${instance.service}`;
  if (body.spiffeId !== expected) return fail("conflict", `${body.spiffeId} is not ${expected}`);
  if ("generation" in body) {
    const problem = lineageProblem(instance, body) ?? signerProblem(state, body.authorityKeyId);
    if (problem !== undefined) return problem;
    const { generation, keySha256 } = body;
    state.instances.set(body.instance, { ...instance, generation, keySha256 });
  }
  const { spiffeId, serial, notAfterSeconds } = body;
  const row = { spiffeId, instance: body.instance, serial, notAfterSeconds };
  state.certificates.set(
    body.certificate,
    "generation" in body ? { ...row, authorityKeyId: body.authorityKeyId } : row,
  );
  return ok(true);
}

/** A generation follows the last one, or is the last one again for the same key. */
function lineageProblem(
  { generation: last = 0, keySha256: lastKey }: InstanceRow,
  { generation, keySha256 }: EntryBody<"svid.put">,
): Refusal<"conflict"> | undefined {
  const isNext = generation === last + 1;
  const isAgain = generation === last && keySha256 === lastKey;
  return isNext || isAgain ? undefined : fail("conflict", `generation ${generation} after ${last}`);
}

function signerProblem(state: TrustState, keyId: string): Refusal<"conflict"> | undefined {
  return revokedKeyIds(state).has(keyId) ? fail("conflict", `authority ${keyId} was revoked`) : undefined;
}

function holdOf(
  state: TrustState,
  { service, node }: { readonly service: string; readonly node: string },
): Refusal<"conflict"> | undefined {
  if (state.holds.has(`service:${service}`)) return fail("conflict", `${service} is held`);
  return state.holds.has(`node:${node}`) ? fail("conflict", `node ${node} is held`) : undefined;
}

/** Says who may obtain a service's identity over the Workload API. */
export function applyWorkload(state: TrustState, { name, ...row }: EntryBody<"workload.put">): Applied {
  if (!state.services.has(row.service)) return fail("conflict", `no service ${row.service}`);
  state.workloads.set(name, row);
  return ok(true);
}

/** Ends an instance and all its certificates, for ever. */
export function revokeInstance(state: TrustState, instance: string, reason: RevocationReason): Applied {
  if (!state.instances.has(instance)) return fail("conflict", `no instance ${instance}`);
  const atSeconds = epochSeconds(state);
  state.revocations.set(`instance:${instance}`, { reason, atSeconds, expiresAtSeconds: 0 });
  removeInstances(state, (id) => id === instance, reason);
  state.standings.delete(instance);
  return ok(true);
}

/** Says that the certificates that an instance has are to be replaced. */
export function renewInstance(state: TrustState, instance: string): Applied {
  if (!state.instances.has(instance)) return fail("conflict", `no instance ${instance}`);
  const due = [...state.certificates.entries()].filter(
    ([, row]) => row.instance === instance && row.isDue !== true,
  );
  if (due.length === 0) return fail("conflict", "no certificate that is not to be replaced already");
  for (const [id, row] of due) state.certificates.set(id, { ...row, isDue: true });
  return ok(true);
}

/** Ends one certificate; its instance may have others. */
export function applySvidRevocation(
  state: TrustState,
  { certificate, reason }: EntryBody<"svid.revoke">,
): Applied {
  const count = revokeCertificates(state, (id) => id === certificate, reason);
  return count > 0 ? ok(true) : fail("conflict", "no such certificate in force");
}

/** Ends a token before its time. */
export function applyTokenRevocation(
  state: TrustState,
  { id, expiresAtSeconds, reason }: EntryBody<"token.revoke">,
): Applied {
  if (isPast(state, expiresAtSeconds)) return fail("conflict", "the token has expired already");
  const known = state.revocations.get(`token:${id}`);
  if (known !== undefined && known.expiresAtSeconds >= expiresAtSeconds)
    return fail("conflict", "revoked already");
  state.revocations.set(`token:${id}`, { reason, atSeconds: epochSeconds(state), expiresAtSeconds });
  return ok(true);
}

/** Takes the identity of all instances of a service, until it is lifted. */
export function holdService(state: TrustState, name: string, reason: RevocationReason): Applied {
  if (!state.services.has(name)) return fail("conflict", `no service ${name}`);
  return hold(state, `service:${name}`, { reason, isOf: ({ service }) => service === name });
}

/** Takes the identity of all instances on a node, until it is lifted. */
export function holdNode(state: TrustState, name: string, reason: RevocationReason): Applied {
  if (!state.nodes.has(name)) return fail("conflict", `no node ${name}`);
  return hold(state, `node:${name}`, { reason, isOf: ({ node }) => node === name });
}

function hold(
  state: TrustState,
  key: string,
  { reason, isOf }: { readonly reason: RevocationReason; readonly isOf: (row: InstanceRow) => boolean },
): Applied {
  if (state.holds.has(key)) return fail("conflict", "held already");
  state.holds.set(key, { reason, atSeconds: epochSeconds(state) });
  removeInstances(state, (_, row) => isOf(row), reason);
  return ok(true);
}

/** Lets what was held have identities again; its instances register anew. */
export function lift(state: TrustState, key: string): Applied {
  return state.holds.delete(key) ? ok(true) : fail("conflict", "not held");
}

/** Takes certificates out of force before their end and remembers them until then; how many there were. */
export function revokeCertificates(
  state: TrustState,
  isGone: (certificate: string, row: CertificateRow) => boolean,
  reason: RevocationReason,
): number {
  const gone = [...state.certificates.entries()].filter(([id, row]) => isGone(id, row));
  for (const [id, row] of gone) {
    state.certificates.delete(id);
    state.revokedCertificates.set(id, { ...row, reason, atSeconds: epochSeconds(state) });
  }
  return gone.length;
}

/** Removes instances with their certificates, which count as revoked where a reason is given; how many there were. */
export function removeInstances(
  state: TrustState,
  isGone: (instance: string, row: InstanceRow) => boolean,
  reason?: RevocationReason,
): number {
  const gone = new Set<string>();
  for (const [id, row] of state.instances.entries()) if (isGone(id, row)) gone.add(id);
  for (const id of gone) {
    state.instances.delete(id);
    forgetStanding(state, id);
  }
  if (reason !== undefined) revokeCertificates(state, (_, { instance }) => gone.has(instance), reason);
  else
    for (const [id, { instance }] of state.certificates.entries())
      if (gone.has(instance)) state.certificates.delete(id);
  return gone.size;
}

/** Whether a service may run on a node. */
export function runsOn({ nodes }: { readonly nodes: readonly string[] }, node: string): boolean {
  return nodes.includes("*") || nodes.includes(node);
}
