import { ConnectError } from "@connectrpc/connect";
import { type HandingOn, handOnPrefix } from "../../data-plane/index.ts";
import { CliError, exitCode } from "../exit-codes.ts";
import { meshDirectory } from "../mesh-directory.ts";
import { type OutputFormat, printAnswer } from "../output.ts";
import { openProxyOptions } from "../proxy-process.ts";
import { durationOrShare } from "../tree/options.ts";
import { requireServiceName } from "./run-service.ts";

interface HolderOptions {
  readonly dir: string;
  readonly output: OutputFormat;
  /** The holder. */
  readonly as: string;
}

/** `troth prefix delegate`: signed by an SVID's key of the holder, which the node agent vouches for as in `troth run`. */
export async function delegatePrefix(
  name: string,
  service: string,
  options: HolderOptions & { readonly depth: number; readonly mayDelegate: boolean; readonly for?: string },
): Promise<void> {
  const seconds = options.for === undefined ? undefined : secondsOf(options.for);
  const what = {
    kind: "prefix.delegate",
    prefix: requireServiceName(name),
    holder: requireServiceName(service),
    depthMax: options.depth,
    mayDelegate: options.mayDelegate,
    ...(seconds === undefined ? {} : { seconds }),
  } as const;
  await handOn(options, what, `${what.holder} may serve ${what.prefix}`);
}

/** `troth prefix recall`. */
export async function recallPrefix(name: string, options: HolderOptions): Promise<void> {
  const prefix = requireServiceName(name);
  await handOn(options, { kind: "prefix.recall", prefix }, `${prefix} is taken back`);
}

async function handOn(options: HolderOptions, what: HandingOn, says: string): Promise<void> {
  await using stack = new AsyncDisposableStack();
  const proxy = await openProxyOptions(meshDirectory(options.dir), stack, {
    role: "export",
    service: options.as,
    logLevel: "error",
    revoked: () => {},
  });
  const handed = await handOnPrefix(proxy, what).catch((error: unknown) => {
    throw error instanceof ConnectError ? new CliError(exitCode.no, `refused: ${error.rawMessage}`) : error;
  });
  if (!handed.ok)
    throw new CliError(
      exitCode.no,
      `${handed.detail}; what it holds, and what it handed on: troth prefix list`,
    );
  const { under, size } = handed.value;
  printAnswer(
    options.output,
    "PrefixGrant",
    { ...what, under, size },
    () => `${says}, by the word of ${options.as}, who holds ${under}\nentry ${size - 1} of the trust log\n`,
  );
}

function secondsOf(text: string): number {
  const duration = durationOrShare(text);
  if ("seconds" in duration) return duration.seconds;
  throw new CliError(exitCode.usage, `"${text}" is no duration; e.g. 12h or 30d`);
}
