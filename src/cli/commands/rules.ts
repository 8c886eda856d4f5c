import { CliError, exitCode } from "../exit-codes.ts";
import { meshDirectory } from "../mesh-directory.ts";
import { OperatorClient } from "../operator-client.ts";
import { type OutputFormat, printAnswer } from "../output.ts";

const waitMillisMax = 10_000;
const pollMillis = 50;
const namedMax = 20;

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
  for (const name of [rule.from, rule.to])
    if (!name.endsWith("/*") && !client.state.services.has(name))
      process.stderr.write(`troth: note: ${name} is not registered (yet)\n`);
  const size = await client.append([{ kind: "rule.put", body: rule }]);
  const proxies = options.wait ? await waitForProxies(client, size, waitMillisMax) : undefined;
  printAnswer(
    options.output,
    "Rule",
    { ...rule, size, ...(proxies === undefined ? {} : { proxies }) },
    () => {
      const reached =
        proxies === undefined
          ? ""
          : `, in force in ${proxies.reached} of ${proxies.known} proxies after ${proxies.millis} ms`;
      return `${rule.from} ${effect === "allow" ? "may" : "may not"} call ${rule.to}: entry ${size - 1} of the trust log${reached}\n`;
    },
  );
  if (proxies !== undefined) requireReached(proxies, size, waitMillisMax);
}

/** How far a size of the log has come. */
export interface ProxiesReached {
  readonly known: number;
  readonly reached: number;
  /** From the first look until the last one that changed anything. */
  readonly millis: number;
  /** Of the proxies' acknowledgements, measured from the first look. */
  readonly millisP50: number;
  readonly millisP99: number;
  readonly behind: readonly { readonly service: string; readonly instance: string; readonly size: number }[];
}

/** Waits until every known proxy has reported the size. Proxies report once a second, so that is how fine this is. */
export async function waitForProxies(
  client: OperatorClient,
  size: number,
  timeoutMillis: number,
): Promise<ProxiesReached> {
  const started = performance.now();
  const reachedAfter = new Map<string, number>();
  for (;;) {
    const { followers } = await client.admin.getStatus({});
    const elapsed = Math.round(performance.now() - started);
    const behind: { service: string; instance: string; size: number }[] = [];
    for (const follower of followers) {
      const { service, instance } = follower;
      if (Number(follower.size) < size) behind.push({ service, instance, size: Number(follower.size) });
      else if (!reachedAfter.has(instance)) reachedAfter.set(instance, elapsed);
    }
    if (behind.length === 0 || elapsed > timeoutMillis) {
      const millis = [...reachedAfter.values()].sort((left, right) => left - right);
      const at = (share: number): number => millis[Math.ceil(millis.length * share) - 1] ?? 0;
      return {
        known: followers.length,
        reached: followers.length - behind.length,
        millis: elapsed,
        millisP50: at(0.5),
        millisP99: at(0.99),
        behind,
      };
    }
    await new Promise((resolve) => setTimeout(resolve, pollMillis));
  }
}

/** "5 of 6 proxies have it; they acknowledged after 420 ms (p50), 980 ms (p99)". */
export function reachedSentence({ known, reached, millisP50, millisP99 }: ProxiesReached): string {
  if (known === 0) return "no proxy runs now";
  if (reached === 0) return `none of ${known} proxies has it`;
  return `${reached} of ${known} proxies have it; they acknowledged after ${millisP50} ms (p50), ${millisP99} ms (p99)`;
}

/** Throws, with exit code 5 and the names, where proxies are behind. */
export function requireReached({ behind }: ProxiesReached, size: number, timeoutMillis: number): void {
  if (behind.length === 0) return;
  const names = behind
    .slice(0, namedMax)
    .map((one) => `${one.service} ${one.instance.slice(0, 8)} (${one.size})`);
  const more = behind.length > namedMax ? ` and ${behind.length - namedMax} more` : "";
  throw new CliError(
    exitCode.timedOut,
    `not at size ${size} within ${timeoutMillis / 1000} s: ${names.join(", ")}${more}; the entries are in the log, and troth proxy status shows who follows it`,
  );
}

function pattern(text: string): string {
  return text.startsWith("/") ? text : `/${text}`;
}
