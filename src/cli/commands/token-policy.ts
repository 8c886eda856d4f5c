import type { RequestTokenMode } from "../../trust-log/index.ts";
import { CliError, exitCode } from "../exit-codes.ts";
import { meshDirectory } from "../mesh-directory.ts";
import { OperatorClient } from "../operator-client.ts";
import { type OutputFormat, printAnswer } from "../output.ts";
import { shortId } from "../proposed-entry.ts";
import { reachedInWords } from "../proxy-progress.ts";
import { tokenPolicyReach } from "../token-policy-reach.ts";
import { requireReached, writeEntries } from "../write-entries.ts";

const waitMillisMax = 10_000;

/** What `troth token policy` takes. */
export interface TokenPolicyOptions {
  readonly dir: string;
  readonly output: OutputFormat;
  /** In seconds; both or neither. */
  readonly past?: number;
  readonly future?: number;
  readonly wait: boolean;
}

/** `troth token policy TO MODE`: one entry in the trust log, signed by this operator; replaces what stood for TO. */
export async function putTokenPolicy(
  text: string,
  mode: RequestTokenMode,
  options: TokenPolicyOptions,
): Promise<void> {
  const { past, future } = options;
  if ((past === undefined) !== (future === undefined))
    throw new CliError(exitCode.usage, "a window has two ends: give both --past and --future, or neither");
  const to = text.startsWith("/") ? text : `/${text}`;
  using client = await OperatorClient.open(meshDirectory(options.dir));
  const reach = tokenPolicyReach(client.state, to);
  if (!reach.ok) throw new CliError(exitCode.no, reach.detail);
  if (reach.value !== "") process.stderr.write(`troth: note: ${reach.value}\n`);
  const window =
    past === undefined || future === undefined
      ? {}
      : { window: { pastSeconds: past, futureSeconds: future } };
  const body = { to, mode, ...window };
  const { size, proposals, proxies } = await writeEntries(
    client,
    [{ kind: "requesttoken.put", body }],
    options.wait ? waitMillisMax : undefined,
  );
  const answer = { ...body, size, proposals, ...(proxies === undefined ? {} : { proxies }) };
  printAnswer(options.output, "RequestTokenPolicyChange", answer, () => {
    const says =
      mode === "off" ? `requests to ${to} carry no request tokens` : `requests to ${to} carry request tokens`;
    const [waiting] = proposals;
    if (waiting !== undefined) return `${says} once proposal ${shortId(waiting.id)} has its signatures\n`;
    const reached = proxies === undefined ? "" : `, ${reachedInWords(proxies)}`;
    return `${says}: entry ${size - 1} of the trust log${reached}\n`;
  });
  if (proxies !== undefined) requireReached(proxies, size, waitMillisMax);
}
