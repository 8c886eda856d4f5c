import { authorityOfServiceName, parseServiceName, type ServiceName } from "../../identity/index.ts";
import type { PrefixRow } from "../../trust-log/index.ts";
import { CliError, exitCode } from "../exit-codes.ts";
import { meshDirectory } from "../mesh-directory.ts";
import { type NewEntry, OperatorClient } from "../operator-client.ts";
import { momentOf, type OutputFormat, printAnswer, tableOf } from "../output.ts";
import { shortId } from "../proposed-entry.ts";
import { reachedInWords } from "../proxy-progress.ts";
import { durationOrShare } from "../tree/options.ts";
import { requireReached, writeEntries } from "../write-entries.ts";

const waitMillisMax = 10_000;
const depthMax = 15;

interface PrefixOptions {
  readonly dir: string;
  readonly output: OutputFormat;
}

/** `troth prefix grant`: one entry of the trust log, signed by this operator as the prefix authority. */
export async function grantPrefix(
  name: string,
  service: string,
  options: PrefixOptions & { readonly depth: number; readonly mayDelegate: boolean; readonly for?: string },
): Promise<void> {
  const prefix = requireName(name);
  const holder = requireName(service);
  if (options.depth > depthMax) throw new CliError(exitCode.usage, `--depth is at most ${depthMax}`);
  using client = await OperatorClient.open(meshDirectory(options.dir));
  const { services, prefixes } = client.state;
  if (!services.has(holder))
    throw new CliError(exitCode.notFound, `no service ${holder} is registered; see: troth services`);
  if (prefix !== holder && services.has(prefix))
    throw new CliError(exitCode.no, `${prefix} is a registered service, whose own name it is`);
  const held = prefixes.get(prefix);
  if (held !== undefined && held.holder !== holder)
    throw new CliError(
      exitCode.no,
      `${prefix} is granted to ${held.holder}; to take it away: troth prefix revoke ${prefix}`,
    );
  const body = {
    prefix,
    holder,
    depthMax: options.depth,
    mayDelegate: options.mayDelegate,
    notAfterSeconds: options.for === undefined ? 0 : endOf(options.for, client),
  };
  const host = authorityOfServiceName(prefix);
  const called = host === undefined ? "" : `, called as http://${host}`;
  await write(client, options, { kind: "prefix.grant", body }, `${holder} may serve ${prefix}${called}`);
}

/** `troth prefix revoke`: waits until every proxy has it, and nothing is routed by it any more. */
export async function revokePrefix(name: string, options: PrefixOptions): Promise<void> {
  const prefix = requireName(name);
  using client = await OperatorClient.open(meshDirectory(options.dir));
  const row = client.state.prefixes.get(prefix);
  if (row === undefined)
    throw new CliError(exitCode.notFound, `${prefix} is granted to nobody; see: troth prefix list`);
  const entry: NewEntry = { kind: "prefix.withdraw", body: { prefix } };
  await write(client, options, entry, `${row.holder} may not serve ${prefix} any more`);
}

/** `troth prefix list`: from the log as this client has checked it. */
export async function listPrefixes(options: PrefixOptions): Promise<void> {
  using client = await OperatorClient.open(meshDirectory(options.dir));
  const items = [...client.state.prefixes.entries()]
    .sort(([left], [right]) => (left < right ? -1 : 1))
    .map(([prefix, row]) => ({ prefix, host: hostOf(prefix), ...row }));
  printAnswer(options.output, "PrefixGrantList", { items }, () => {
    if (items.length === 0)
      return "No service has more than its own name; troth prefix grant gives it a prefix.\n";
    const rows = items.map((row) => [row.prefix, row.holder, ...boundsOf(row), row.host]);
    return tableOf(["PREFIX", "HOLDER", "BELOW", "HANDS ON", "FROM", "UNTIL", "CALLED AS"], rows);
  });
}

function boundsOf({ depthMax: below, mayDelegate, under, notAfterSeconds }: PrefixRow): string[] {
  return [
    String(below),
    mayDelegate ? "yes" : "no",
    under === "" ? "prefix authority" : under,
    notAfterSeconds === 0 ? "revoked" : momentOf(notAfterSeconds),
  ];
}

async function write(
  client: OperatorClient,
  options: PrefixOptions,
  entry: NewEntry,
  says: string,
): Promise<void> {
  const { size, proposals, proxies } = await writeEntries(client, [entry], waitMillisMax);
  const [waiting] = proposals;
  const answer = { ...entry.body, size, proposals, ...(proxies === undefined ? {} : { proxies }) };
  printAnswer(options.output, "PrefixGrant", answer, () =>
    waiting === undefined
      ? `${says}\nentry ${size - 1} of the trust log${proxies === undefined ? "" : `, ${reachedInWords(proxies)}`}\n`
      : `once proposal ${shortId(waiting.id)} has its signatures: ${says}\n`,
  );
  if (proxies !== undefined) requireReached(proxies, size, waitMillisMax);
}

/** By the time of the log, which is what ends it. */
function endOf(text: string, { state }: OperatorClient): number {
  const duration = durationOrShare(text);
  if (!("seconds" in duration))
    throw new CliError(exitCode.usage, `"${text}" is no duration; e.g. 12h or 30d`);
  return (state.genesis?.epochTimeSeconds ?? 0) + duration.seconds;
}

function hostOf(prefix: string): string {
  const name = parseServiceName(prefix);
  return (name.ok ? authorityOfServiceName(name.value) : undefined) ?? "-";
}

function requireName(text: string): ServiceName {
  const name = parseServiceName(text.startsWith("/") ? text : `/${text}`);
  if (name.ok) return name.value;
  throw new CliError(exitCode.usage, `"${text}" is no service prefix (${name.reason}); e.g. /media/video`);
}
