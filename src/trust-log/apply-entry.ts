import { base64Of, bytesOf, bytesOfBase64 } from "../base/bytes.ts";
import { fail, ok } from "../base/result.ts";
import { ed25519PublicKey, verifyEd25519 } from "../crypto/index.ts";
import { type Applied, isPast } from "./applied.ts";
import {
  activate,
  applyCertificateAuthority,
  applyTokenKey,
  revokeAuthority,
  taint,
} from "./apply-authority-life.ts";
import {
  applyFederatedBundle,
  applyFederation,
  applyFederationRemoval,
  applyForeignRule,
  applyRemote,
} from "./apply-federation.ts";
import {
  applyDraining,
  applyIssuance,
  applyRegistration,
  applySvidRevocation,
  applyTokenRevocation,
  applyWorkload,
  holdNode,
  holdService,
  lift,
  removeInstances,
  renewInstance,
  revokeInstance,
  runsOn,
} from "./apply-instance.ts";
import { grantProblem, knownKey, verifierOf } from "./authority.ts";
import type { EntryStatement } from "./entry.ts";
import { type EntryBody, type EntryKind, entryBodies } from "./entry-kinds.ts";
import type { EntryPlace } from "./fold.ts";
import { isKeyOfGeneration } from "./generation.ts";
import { keyNameProblem } from "./person.ts";
import { isTcpService, requestRuleFor, speaksOfRequests } from "./tcp-service.ts";
import type { TrafficRow, TrustState } from "./trust-state.ts";

/** An instance without a certificate is forgotten after this long. */
const instanceIdleSecondsMax = 3600;

/** What the invited node signs with the key of its invitation, so that nobody can use the invitation for another key. */
export function nodeJoinText(log: string, node: string, nodeKey: string): string {
  return `troth node join v1\n${log}\n${node}\n${nodeKey}\n`;
}

/** Lets the entry after `before`, whose authority was checked, take effect; the state is unchanged where it has none. */
export function applyEntry(
  state: TrustState,
  kind: EntryKind,
  { before, statement }: { readonly before: EntryPlace; readonly statement: EntryStatement },
): Applied {
  const parsed = entryBodies[kind].safeParse(statement.body);
  if (!parsed.success) return fail("malformed-body", problemOf(parsed.error));
  return appliers[kind](state, bodyOf(kind, parsed.data), before);
}

type Applier = (state: TrustState, body: never, before: EntryPlace) => Applied;

function bodyOf(_kind: EntryKind, body: EntryBody<EntryKind>): never {
  // oxlint-disable-next-line typescript/no-unsafe-type-assertion -- the schema and the applier have the same key
  return body as never;
}

const appliers: { readonly [Kind in EntryKind]: Applier } = {
  genesis: () => fail("conflict", "there is a genesis already"),
  epoch: applyEpoch,
  "log.recover": applyRecovery,
  "authority.put": applyAuthority,
  "key.put": applyKey,
  "key.remove": applyKeyRemoval,
  "ca.trust": (state, body: EntryBody<"ca.trust">) =>
    applyCertificateAuthority(state, body.certificate, true),
  "ca.issue": (state, body: EntryBody<"ca.issue">) =>
    applyCertificateAuthority(state, body.certificate, false),
  "service.put": applyService,
  "service.remove": applyServiceRemoval,
  "rule.put": applyRule,
  "rule.remove": (state, { from, to }: EntryBody<"rule.remove">) =>
    state.rules.delete(`${from} ${to}`) ? ok(true) : fail("conflict", "no such rule"),
  "traffic.put": applyTraffic,
  "traffic.remove": (state, { service }: EntryBody<"traffic.remove">) =>
    state.traffic.delete(service) ? ok(true) : fail("conflict", `no traffic policy of ${service}`),
  "node.invite": applyInvitation,
  "node.join": applyJoin,
  "node.remove": applyNodeRemoval,
  "node.zone": applyZone,
  "instance.register": applyRegistration,
  "instance.remove": (state, { instance }: EntryBody<"instance.remove">) =>
    removeInstances(state, (id) => id === instance) > 0 ? ok(true) : fail("conflict", "no such instance"),
  "instance.drain": (state, { instance }: EntryBody<"instance.drain">) =>
    applyDraining(state, instance, true),
  "instance.resume": (state, { instance }: EntryBody<"instance.resume">) =>
    applyDraining(state, instance, false),
  "svid.issue": applyIssuance,
  "svid.put": applyIssuance,
  "workload.put": applyWorkload,
  "workload.remove": (state, { name }: EntryBody<"workload.remove">) =>
    state.workloads.delete(name) ? ok(true) : fail("conflict", `no workload entry ${name}`),
  "instance.revoke": (state, { instance, reason }: EntryBody<"instance.revoke">) =>
    revokeInstance(state, instance, reason),
  "instance.lock": (state, { instance }: EntryBody<"instance.lock">) =>
    revokeInstance(state, instance, "key-compromise"),
  "instance.renew": (state, { instance }: EntryBody<"instance.renew">) => renewInstance(state, instance),
  "svid.revoke": applySvidRevocation,
  "token.revoke": applyTokenRevocation,
  "service.hold": (state, { name, reason }: EntryBody<"service.hold">) => holdService(state, name, reason),
  "service.lift": (state, { name }: EntryBody<"service.lift">) => lift(state, `service:${name}`),
  "node.hold": (state, { node, reason }: EntryBody<"node.hold">) => holdNode(state, node, reason),
  "node.lift": (state, { node }: EntryBody<"node.lift">) => lift(state, `node:${node}`),
  "jwk.put": applyTokenKey,
  "ca.activate": (state, { authority }: EntryBody<"ca.activate">) => activate(state, authority),
  "ca.taint": (state, { authority }: EntryBody<"ca.taint">) => taint(state, authority),
  "ca.revoke": (state, { authority, reason }: EntryBody<"ca.revoke">) =>
    revokeAuthority(state, authority, reason),
  "federation.put": applyFederation,
  "federation.bundle": applyFederatedBundle,
  "federation.remove": applyFederationRemoval,
  "remote.put": applyRemote,
  "remote.remove": (state, { trustDomain, service }: EntryBody<"remote.remove">) =>
    state.remotes.delete(`spiffe://${trustDomain}${service}`)
      ? ok(true)
      : fail("conflict", `no address of ${service} in ${trustDomain}`),
  "foreignrule.put": applyForeignRule,
  "foreignrule.remove": (state, { from, to }: EntryBody<"foreignrule.remove">) =>
    state.rules.delete(`${from} ${to}`) ? ok(true) : fail("conflict", "no such rule"),
  "requesttoken.put": (state, { to, ...row }: EntryBody<"requesttoken.put">) => {
    state.requestTokens.set(to, row);
    return ok(true);
  },
  "requesttoken.remove": (state, { to }: EntryBody<"requesttoken.remove">) =>
    state.requestTokens.delete(to)
      ? ok(true)
      : fail("conflict", `nothing is said of request tokens to ${to}`),
};

function applyEpoch(
  state: TrustState,
  body: EntryBody<"epoch">,
  { size: index }: { readonly size: number },
): Applied {
  const domain = state.genesis;
  if (domain === undefined || body.number !== domain.epochNumber + 1)
    return fail("conflict", "epoch out of order");
  if (body.size !== index) return fail("conflict", `epoch for size ${body.size} at ${index}`);
  if (body.timeSeconds < domain.epochTimeSeconds) return fail("conflict", "epoch time goes back");
  if (body.stateDigest !== state.digest()) return fail("state-digest-mismatch", `entry ${index}`);
  state.domain.set("", { ...domain, epochNumber: body.number, epochTimeSeconds: body.timeSeconds });
  expire(state, body.timeSeconds);
  return ok(true);
}

/** Whatever expires in the fold expires by epoch time, so that all followers forget it at the same size. */
function expire(state: TrustState, nowSeconds: number): void {
  const live = new Set<string>();
  for (const [id, { notAfterSeconds, instance }] of state.certificates.entries())
    if (isPast(state, notAfterSeconds)) state.certificates.delete(id);
    else live.add(instance);
  for (const [id, { registeredAtSeconds }] of state.instances.entries())
    if (!live.has(id) && registeredAtSeconds + instanceIdleSecondsMax < nowSeconds)
      state.instances.delete(id);
  for (const [id, { expiresAtSeconds }] of state.invites.entries())
    if (isPast(state, expiresAtSeconds)) state.invites.delete(id);
  for (const [id, { notAfterSeconds }] of state.revokedCertificates.entries())
    if (isPast(state, notAfterSeconds)) state.revokedCertificates.delete(id);
  for (const [id, { expiresAtSeconds }] of state.revocations.entries())
    if (expiresAtSeconds !== 0 && isPast(state, expiresAtSeconds)) state.revocations.delete(id);
}

/** The log goes on from a tree that people, not the log's key, have called the right one. */
function applyRecovery(state: TrustState, body: EntryBody<"log.recover">, before: EntryPlace): Applied {
  const domain = state.genesis;
  if (domain === undefined || body.generation !== domain.recoveredSizes.length + 2)
    return fail("conflict", `generation ${body.generation} does not follow`);
  if (body.size !== before.size) return fail("conflict", `recovery at ${body.size}, not at ${before.size}`);
  if (body.root !== base64Of(before.root())) return fail("conflict", `not the tree of ${body.size} entries`);
  if (!isKeyOfGeneration(body.logKey, domain.trustDomain, body.generation))
    return fail("malformed-body", "not a key of the log in this generation");
  state.domain.set("", {
    ...domain,
    logKey: body.logKey,
    recoveredSizes: [...domain.recoveredSizes, body.size],
  });
  return ok(true);
}

/** All of the kinds or none. */
function applyAuthority(state: TrustState, { kinds, grant }: EntryBody<"authority.put">): Applied {
  const before = kinds.map((kind) => [kind, state.authority.get(kind)] as const);
  for (const kind of kinds) state.authority.set(kind, grant);
  const problem = grantProblem(state);
  if (problem === undefined) return ok(true);
  for (const [kind, row] of before)
    if (row === undefined) state.authority.delete(kind);
    else state.authority.set(kind, row);
  return fail("conflict", problem);
}

function applyKey(state: TrustState, { name, role, publicKey }: EntryBody<"key.put">): Applied {
  const known = knownKey(state, name, publicKey);
  if (known !== undefined) return fail("conflict", known);
  const problem = keyNameProblem(state.genesis?.trustDomain ?? "", name, role);
  if (problem !== undefined) return fail("malformed-body", problem);
  if (verifierOf(name, publicKey) === undefined) return fail("malformed-body", "not an Ed25519 key");
  state.authors.set(name, { role, publicKey, sequence: 0, open: [], isRemoved: false });
  return ok(true);
}

function applyKeyRemoval(state: TrustState, { name }: EntryBody<"key.remove">): Applied {
  const row = state.authors.get(name);
  if (row === undefined || row.isRemoved) return fail("conflict", `no key named ${name}`);
  state.authors.set(name, { ...row, isRemoved: true });
  const problem = grantProblem(state);
  if (problem === undefined) return ok(true);
  state.authors.set(name, row);
  return fail("conflict", problem);
}

function applyService(state: TrustState, { name, ...row }: EntryBody<"service.put">): Applied {
  if (/^\/troth(\/|$)/.test(name))
    return fail("malformed-body", "/troth is reserved for the mesh's own processes");
  state.services.set(name, row);
  removeInstances(state, (_, { service, node }) => service === name && !runsOn(row, node));
  return ok(true);
}

function applyServiceRemoval(state: TrustState, { name }: EntryBody<"service.remove">): Applied {
  if (!state.services.delete(name)) return fail("conflict", `no service ${name}`);
  state.traffic.delete(name);
  for (const [id, { service }] of state.workloads.entries()) if (service === name) state.workloads.delete(id);
  removeInstances(state, (_, { service }) => service === name);
  return ok(true);
}

function applyRule(
  state: TrustState,
  body: EntryBody<"rule.put">,
  { size: index }: { readonly size: number },
): Applied {
  if (isTcpService(state, body.to) && speaksOfRequests(body))
    return fail("conflict", `${body.to} is called over TCP; a rule for it has no methods and no paths`);
  state.rules.set(`${body.from} ${body.to}`, { ...body, index });
  return ok(true);
}

function applyTraffic(state: TrustState, { service, ...row }: EntryBody<"traffic.put">): Applied {
  if (!state.services.has(service)) return fail("conflict", `no service ${service}`);
  const problem =
    row.protocol === "tcp" ? tcpProblem(state, service, row) : mirrorProblem(state, service, row);
  if (problem !== undefined) return problem;
  state.traffic.set(service, row);
  return ok(true);
}

function tcpProblem(state: TrustState, service: string, row: TrafficRow): Applied | undefined {
  const { timeoutMillis, retries, retryBudgetPercent, routes } = row;
  if ((timeoutMillis ?? retries ?? retryBudgetPercent) !== undefined || routes.length > 0)
    return fail("malformed-body", `${service} is called over TCP, which has no requests`);
  const rule = requestRuleFor(state, service);
  return rule === undefined
    ? undefined
    : fail("conflict", `the rule "${rule}" has methods or paths, which TCP has not; replace it first`);
}

function mirrorProblem(state: TrustState, service: string, { routes }: TrafficRow): Applied | undefined {
  for (const { mirror } of routes) {
    if (mirror?.to === service) return fail("malformed-body", `${service} would be its own mirror`);
    if (mirror !== undefined && !state.services.has(mirror.to))
      return fail("conflict", `no service ${mirror.to} to mirror to`);
  }
  return undefined;
}

function applyInvitation(state: TrustState, body: EntryBody<"node.invite">): Applied {
  if (state.invites.has(body.inviteKey)) return fail("conflict", "this invitation exists");
  if (isPast(state, body.expiresAtSeconds)) return fail("conflict", "expired already");
  state.invites.set(body.inviteKey, { node: body.node, expiresAtSeconds: body.expiresAtSeconds });
  return ok(true);
}

/** The invitation is used up here, so every follower sees to it that it works once and for its own node. */
function applyJoin(state: TrustState, body: EntryBody<"node.join">): Applied {
  const invite = state.invites.get(body.inviteKey);
  const domain = state.genesis;
  if (invite === undefined || invite.node !== body.node || domain === undefined)
    return fail("conflict", "no such invitation for this node");
  const key = ed25519PublicKey(bytesOfBase64(body.inviteKey) ?? new Uint8Array(0));
  const proof = bytesOfBase64(body.proof) ?? new Uint8Array(0);
  if (
    key === undefined ||
    !verifyEd25519(key, bytesOf(nodeJoinText(domain.genesis, body.node, body.nodeKey)), proof)
  )
    return fail("malformed-body", "the invitation's key did not sign this");
  if (verifierOf(body.node, body.nodeKey) === undefined) return fail("malformed-body", "not an Ed25519 key");
  for (const [node, { nodeKey }] of state.nodes.entries())
    if (nodeKey === body.nodeKey && node !== body.node) return fail("conflict", `the key of ${node}`);
  state.invites.delete(body.inviteKey);
  state.nodes.set(body.node, { nodeKey: body.nodeKey });
  return ok(true);
}

function applyNodeRemoval(state: TrustState, { node }: EntryBody<"node.remove">): Applied {
  let isKnown = state.nodes.delete(node);
  state.zones.delete(node);
  state.holds.delete(`node:${node}`);
  // An invitation left over would let it back in.
  for (const [id, invite] of state.invites.entries())
    if (invite.node === node) isKnown = state.invites.delete(id);
  if (!isKnown) return fail("conflict", `no node ${node}`);
  removeInstances(state, (_, row) => row.node === node);
  return ok(true);
}

function applyZone(state: TrustState, { node, zone }: EntryBody<"node.zone">): Applied {
  if (!state.nodes.has(node)) return fail("conflict", `no node ${node}`);
  if (zone === "") state.zones.delete(node);
  else state.zones.set(node, { zone });
  return ok(true);
}

/** The first thing that is wrong with a body. */
export function problemOf(error: {
  readonly issues: readonly { readonly path: readonly PropertyKey[]; readonly message: string }[];
}): string {
  const [issue] = error.issues;
  return issue === undefined ? "malformed" : `${issue.path.map(String).join(".")}: ${issue.message}`;
}
