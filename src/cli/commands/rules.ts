import { CliError, exitCode } from "../exit-codes.ts";
import { meshDirectory } from "../mesh-directory.ts";
import { OperatorClient } from "../operator-client.ts";
import { type OutputFormat, printAnswer } from "../output.ts";
import { shortId } from "../proposed-entry.ts";
import { progressInWords, progressSummary } from "../proxy-progress.ts";

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
  for (const name of [rule.from, rule.to])
    if (!name.endsWith("/*") && !client.state.services.has(name))
      process.stderr.write(`troth: note: ${name} is not registered (yet)\n`);
  const { size, proposals } = await client.append([{ kind: "rule.put", body: rule }]);
  const isInForce = proposals.length === 0;
  const progress = options.wait && isInForce ? await client.waitForProxies(size, waitMillisMax) : undefined;
  const proxies = progress === undefined ? undefined : progressSummary(progress);
  printAnswer(
    options.output,
    "Rule",
    { ...rule, size, proposals, ...(proxies === undefined ? {} : { proxies }) },
    () => {
      const says = `${rule.from} ${effect === "allow" ? "may" : "may not"} call ${rule.to}`;
      const [waiting] = proposals;
      if (waiting !== undefined) return `${says} once proposal ${shortId(waiting.id)} has its signatures\n`;
      const reached = proxies === undefined ? "" : `, ${progressInWords(proxies)}`;
      return `${says}: entry ${size - 1} of the trust log${reached}\n`;
    },
  );
  if (proxies !== undefined && proxies.reached < proxies.known)
    throw new CliError(
      exitCode.timedOut,
      `${proxies.known - proxies.reached} proxies have not acknowledged size ${size} within ${waitMillisMax / 1000} s`,
    );
}

function pattern(text: string): string {
  return text.startsWith("/") ? text : `/${text}`;
}
