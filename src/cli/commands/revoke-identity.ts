import type { JsonObject } from "../../base/canonical-json.ts";
import type { EntryKind, RevocationReason } from "../../trust-log/index.ts";
import { confirmSigning } from "../confirm-signing.ts";
import { describeEntry } from "../describe-entry.ts";
import { CliError, exitCode } from "../exit-codes.ts";
import { findAuthority, findCertificate, findInstance } from "../find-identity.ts";
import { meshDirectory } from "../mesh-directory.ts";
import { type NewEntry, OperatorClient } from "../operator-client.ts";
import { type OutputFormat, printAnswer, talk } from "../output.ts";
import { shortId } from "../proposed-entry.ts";
import type { ProxiesReached, ProxyArrivals } from "../proxy-progress.ts";
import { systemClock } from "../system.ts";
import { requireReached, waitForProxies } from "../write-entries.ts";
import { requireServiceName } from "./run-service.ts";

/** More proxies than this are counted instead of named as their receipts come. */
const namedMax = 20;

/** What is revoked: exactly one of these. */
export interface RevocationTarget {
  readonly id?: string | undefined;
  readonly serial?: string;
  readonly jti?: string;
  /** When the token of `jti` expires, in seconds since 1970. */
  readonly until?: number;
  readonly service?: string;
  readonly node?: string;
  readonly authority?: string;
}

/** What `troth identity revoke` takes besides. */
export interface RevokeOptions {
  readonly dir: string;
  readonly output: OutputFormat;
  readonly reason: RevocationReason;
  readonly wait: boolean;
  /** In seconds. */
  readonly timeout: number;
  readonly yes: boolean;
}

/** What an entry ends, and whether for good. */
interface PlannedEnd extends NewEntry {
  readonly isFinal: boolean;
  /** What the person should know before. */
  readonly note: string;
}

/** `troth identity revoke`: an entry that ends an identity; with `--wait`, until every proxy has said that it has ended it. */
export async function revokeIdentity(target: RevocationTarget, options: RevokeOptions): Promise<void> {
  requireOne(target);
  using client = await OperatorClient.open(meshDirectory(options.dir));
  const planned = plan(client, target, options.reason);
  await confirm(planned, options.yes);
  const started = performance.now();
  const { size, proposals } = await client.append([planned]);
  const [waiting] = proposals;
  const waitMillisMax = options.timeout * 1000;
  const proxies =
    options.wait && waiting === undefined
      ? await waitForProxies(client, size, waitMillisMax, receiptLines())
      : undefined;
  const { kind, body, isFinal } = planned;
  const view = {
    entry: kind,
    ...body,
    isFinal,
    treeSize: size,
    proposals,
    ...(proxies === undefined ? {} : { proxies, millis: Math.round(performance.now() - started) }),
  };
  printAnswer(options.output, "Revocation", view, () => {
    const what = describeEntry(kind, body);
    if (waiting !== undefined)
      return `${what}: once proposal ${shortId(waiting.id)} has its signatures; until then it is in force\n`;
    return `${what}; tree size ${size}${proxies === undefined ? "" : `: ${receiptsInWords(proxies)}`}\n`;
  });
  if (proxies !== undefined) requireReached(proxies, size, waitMillisMax);
}

/** `troth identity unrevoke`: lifts the hold on a service or a node. */
export async function unrevokeIdentity(
  { id, service, node }: Pick<RevocationTarget, "id" | "service" | "node">,
  options: Omit<RevokeOptions, "reason" | "yes">,
): Promise<void> {
  if (id !== undefined)
    throw new CliError(
      exitCode.no,
      `${id} cannot be given back: revocations of instances, certificates, tokens and authorities are final, since whoever has the key would come back with it. Start the workload again; it gets a new identity. Only holds are lifted: --service or --node`,
    );
  if ((service === undefined) === (node === undefined))
    throw new CliError(exitCode.usage, "say what to lift: --service /NAME or --node NAME");
  using client = await OperatorClient.open(meshDirectory(options.dir));
  const name = service === undefined ? "" : requireServiceName(service);
  const key = node === undefined ? `service:${name}` : `node:${node}`;
  if (!client.state.holds.has(key))
    throw new CliError(exitCode.notFound, `${node ?? name} is not held; see: troth identity revocations`);
  const entry: NewEntry =
    node === undefined ? { kind: "service.lift", body: { name } } : { kind: "node.lift", body: { node } };
  const { size, proposals } = await client.append([entry]);
  const [waiting] = proposals;
  const waitMillisMax = options.timeout * 1000;
  const proxies =
    options.wait && waiting === undefined ? await waitForProxies(client, size, waitMillisMax) : undefined;
  const view = { lifted: key, treeSize: size, proposals, ...(proxies === undefined ? {} : { proxies }) };
  printAnswer(options.output, "HoldLifted", view, () =>
    waiting === undefined
      ? `${describeEntry(entry.kind, entry.body)}; what still runs asks for a new certificate by itself\n`
      : `${node ?? name} is held until proposal ${shortId(waiting.id)} has its signatures\n`,
  );
  if (proxies !== undefined) requireReached(proxies, size, waitMillisMax);
}

function requireOne({ id, serial, jti, service, node, authority, until }: RevocationTarget): void {
  const given = [id, serial, jti, service, node, authority].filter((one) => one !== undefined);
  if (given.length !== 1)
    throw new CliError(
      exitCode.usage,
      "name one thing: an instance (troth identity list), or --serial, --jti, --service, --node or --authority",
    );
  if ((jti === undefined) !== (until === undefined))
    throw new CliError(
      exitCode.usage,
      "--jti takes --until, when the token expires, and nothing else does: it is remembered until then",
    );
}

function plan(client: OperatorClient, target: RevocationTarget, reason: RevocationReason): PlannedEnd {
  const { state } = client;
  const { id, serial, jti, until, service, node, authority } = target;
  const final = (kind: EntryKind, body: JsonObject, note: string): PlannedEnd => ({
    kind,
    body: { ...body, reason },
    isFinal: true,
    note,
  });
  const hold = (kind: EntryKind, body: JsonObject, count: number, flag: string): PlannedEnd => ({
    kind,
    body: { ...body, reason },
    isFinal: false,
    note: `${count} ${count === 1 ? "instance loses its" : "instances lose their"} identity, and no new one gets any, until: troth identity unrevoke ${flag}`,
  });
  const countOf = (isOf: (row: { readonly service: string; readonly node: string }) => boolean): number =>
    [...state.instances.entries()].filter(([, row]) => isOf(row)).length;
  if (serial !== undefined) {
    const { certificate, row } = findCertificate(state, serial);
    const note = `final: this certificate of ${row.spiffeId} never counts again. Its instance gets another at once; to end the instance, revoke ${row.instance.slice(0, 8)}`;
    return final("svid.revoke", { certificate }, note);
  }
  if (jti !== undefined && until !== undefined) {
    if (until <= systemClock.nowSeconds())
      throw new CliError(exitCode.no, `--until has passed: the token ${jti} counts nowhere any more`);
    return final(
      "token.revoke",
      { id: jti, expiresAtSeconds: until },
      "final: this token never counts again",
    );
  }
  if (service !== undefined) {
    const name = requireServiceName(service);
    if (!state.services.has(name))
      throw new CliError(exitCode.notFound, `no service ${name} is registered; see: troth get service`);
    return hold(
      "service.hold",
      { name },
      countOf((row) => row.service === name),
      `--service ${name}`,
    );
  }
  if (node !== undefined) {
    if (!state.nodes.has(node))
      throw new CliError(exitCode.notFound, `no node ${node} has joined; see: troth node list`);
    return hold(
      "node.hold",
      { node },
      countOf((row) => row.node === node),
      `--node ${node}`,
    );
  }
  if (authority !== undefined) {
    const found = findAuthority(state, authority);
    const note = `final: this ${found.kind} authority leaves the trust bundle, with all that it has signed`;
    return final("ca.revoke", { authority: found.id }, note);
  }
  const { instance, row } = findInstance(state, id ?? "");
  const note = `final: ${row.service} on ${row.node} as ${instance} never comes back. Where something starts it again it comes as a new instance; to keep ${row.service} out, hold it: --service ${row.service}`;
  return final("instance.revoke", { instance }, note);
}

/** Says what is about to happen; asks where there is somebody at a terminal who can answer. */
async function confirm({ kind, body, note }: PlannedEnd, hasSaidYes: boolean): Promise<void> {
  const isAsked = process.stdin.isTTY && !hasSaidYes;
  if (isAsked)
    return confirmSigning(
      [
        ["entry", describeEntry(kind, body)],
        ["note", note],
      ],
      false,
    );
  talk(note);
}

/** A line on standard error for each receipt; where there are many, for each time that some have come. */
function receiptLines(): (arrivals: ProxyArrivals) => void {
  return ({ known, reached, now }) => {
    if (known > namedMax) return talk(`${reached} of ${known} proxies have ended it`);
    for (const { service, instance, millis } of now)
      talk(`ended at ${service} ${instance.slice(0, 8)} after ${millis} ms`);
  };
}

/** `ended at 5 of 6 proxies (p50 41 ms, p99 98 ms, last 98 ms)`. */
function receiptsInWords({ known, reached, millisP50, millisP99, millisLast }: ProxiesReached): string {
  if (known === 0) return "no other proxy runs now";
  const times = millisP99 === 0 ? "" : ` (p50 ${millisP50} ms, p99 ${millisP99} ms, last ${millisLast} ms)`;
  return `ended at ${reached} of ${known} proxies${times}`;
}
