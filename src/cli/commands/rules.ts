import { meshDirectory } from "../mesh-directory.ts";
import { OperatorClient } from "../operator-client.ts";
import { type OutputFormat, printAnswer } from "../output.ts";
import { requireReached, waitForProxies } from "../write-entries.ts";

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

function pattern(text: string): string {
  return text.startsWith("/") ? text : `/${text}`;
}
