import { covers } from "../../policy/index.ts";
import { type EntryBody, isTcpService, speaksOfRequests, type TrustState } from "../../trust-log/index.ts";
import { CliError, exitCode } from "../exit-codes.ts";
import { meshDirectory } from "../mesh-directory.ts";
import { OperatorClient } from "../operator-client.ts";
import { type OutputFormat, printAnswer } from "../output.ts";
import { shortId } from "../proposed-entry.ts";
import { reachedInWords } from "../proxy-progress.ts";
import { requireReached, writeEntries } from "../write-entries.ts";

const waitMillisMax = 10_000;

/** What `troth allow` and `troth deny` take. */
export interface RuleOptions {
  readonly dir: string;
  readonly output: OutputFormat;
  readonly method: readonly string[];
  readonly path: readonly string[];
  readonly wait: boolean;
}

/** `troth allow|deny FROM TO`: one entry in the trust log, signed by this operator; replaces what stood for this pair. */
export async function putRule(
  effect: "allow" | "deny",
  from: string,
  to: string,
  options: RuleOptions,
): Promise<void> {
  using client = await OperatorClient.open(meshDirectory(options.dir));
  const rule = {
    from: pattern(from),
    to: pattern(to),
    effect,
    methods: options.method.map((method) => method.toUpperCase()),
    paths: [...options.path],
  };
  checkTcp(rule, client.state);
  const isForeign = rule.from.startsWith("spiffe://");
  if (isForeign) requireFederated(rule.from, client);
  for (const name of isForeign ? [rule.to] : [rule.from, rule.to])
    if (!name.endsWith("/*") && !client.state.services.has(name) && !client.state.prefixes.has(name))
      process.stderr.write(`troth: note: ${name} is not registered (yet)\n`);
  const entries = [{ kind: isForeign ? ("foreignrule.put" as const) : ("rule.put" as const), body: rule }];
  const { size, proposals, proxies } = await writeEntries(
    client,
    entries,
    options.wait ? waitMillisMax : undefined,
  );
  printAnswer(
    options.output,
    "Rule",
    { ...rule, size, proposals, ...(proxies === undefined ? {} : { proxies }) },
    () => {
      const says = `${rule.from} ${effect === "allow" ? "may" : "may not"} call ${rule.to}`;
      const [waiting] = proposals;
      if (waiting !== undefined) return `${says} once proposal ${shortId(waiting.id)} has its signatures\n`;
      const reached = proxies === undefined ? "" : `, ${reachedInWords(proxies)}`;
      return `${says}: entry ${size - 1} of the trust log${reached}\n`;
    },
  );
  if (proxies !== undefined) requireReached(proxies, size, waitMillisMax);
}

/** Callers of another trust domain are named by their SPIFFE ID, once that trust domain is federated with. */
function requireFederated(from: string, { state, domain }: OperatorClient): void {
  const [, trustDomain = "", path = ""] = /^spiffe:\/\/([^/]*)(.*)$/.exec(from) ?? [];
  if (trustDomain === domain.trustDomain)
    throw new CliError(exitCode.usage, `${trustDomain} is this trust domain; say ${path}`);
  if (!state.federation.has(trustDomain))
    throw new CliError(
      exitCode.notFound,
      `there is no federation with ${trustDomain}; first: troth federation add ${trustDomain} --url ...`,
    );
}

/** A TCP connection has neither methods nor paths: a rule that names some means nothing for it, or more than is said. */
function checkTcp(rule: EntryBody<"rule.put">, state: TrustState): void {
  if (!speaksOfRequests(rule)) return;
  if (isTcpService(state, rule.to))
    throw new CliError(
      exitCode.usage,
      `${rule.to} is called over TCP, where there are no methods and no paths; leave out --method and --path`,
    );
  const meant = [...state.traffic.entries()].filter(
    ([name, { protocol }]) => protocol === "tcp" && covers(rule.to, name),
  );
  const effect = rule.effect === "allow" ? "allows no" : "denies every";
  for (const [name] of meant)
    process.stderr.write(`troth: note: ${name} is called over TCP; this rule ${effect} connection to it\n`);
}

function pattern(text: string): string {
  return /^(?:\/|spiffe:\/\/)/.test(text) ? text : `/${text}`;
}
