import { CliError, exitCode } from "../exit-codes.ts";
import { meshDirectory } from "../mesh-directory.ts";
import { OperatorClient } from "../operator-client.ts";
import { type OutputFormat, printAnswer } from "../output.ts";

const waitMillisMax = 10_000;
const pollMillis = 50;

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
  const proxies = options.wait ? await waitForProxies(client, size) : undefined;
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
  if (proxies !== undefined && proxies.reached < proxies.known)
    throw new CliError(
      exitCode.timedOut,
      `${proxies.known - proxies.reached} proxies have not acknowledged size ${size} within ${waitMillisMax / 1000} s`,
    );
}

/** Waits until every known proxy has reported the size. Proxies report once a second, so that is how fine this is. */
async function waitForProxies(
  client: OperatorClient,
  size: number,
): Promise<{ reached: number; known: number; millis: number }> {
  const started = performance.now();
  for (;;) {
    const { followers } = await client.admin.getStatus({});
    const reached = followers.filter((follower) => Number(follower.size) >= size).length;
    const millis = Math.round(performance.now() - started);
    if (reached === followers.length || millis > waitMillisMax)
      return { reached, known: followers.length, millis };
    await new Promise((resolve) => setTimeout(resolve, pollMillis));
  }
}

function pattern(text: string): string {
  return text.startsWith("/") ? text : `/${text}`;
}
