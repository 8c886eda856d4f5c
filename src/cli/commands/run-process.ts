import { flushCompileCache } from "node:module";
import { messageOf } from "../../base/mesh-error.ts";
import { exitCode } from "../exit-codes.ts";
import { endWhileOpening, tellParent, untilStopped } from "../until-stopped.ts";

/** Runs what `open` opens until this process is asked to stop; a supervisor hears how it went. */
export async function runProcess(
  open: (
    stack: AsyncDisposableStack,
    broken: (error: unknown) => void,
  ) => Promise<Readonly<Record<string, string>>>,
  beforeStop?: () => Promise<void>,
): Promise<void> {
  const breaking = new AbortController();
  const stopped = untilStopped(breaking.signal);
  // Ends with an error, so that a supervisor starts it again.
  const broken = (error: unknown): void => {
    process.stderr.write(`troth: ${messageOf(error)}\n`);
    process.exitCode = exitCode.failed;
    breaking.abort();
  };
  const opened = endWhileOpening(stopped);
  await using stack = new AsyncDisposableStack();
  try {
    const addresses = await open(stack, broken);
    opened();
    tellParent({ kind: "ready", addresses });
  } catch (error) {
    opened();
    tellParent({ kind: "failed", message: messageOf(error) });
    throw error;
  }
  // Node keeps what it compiled only when a process ends by itself; one that is killed would leave the next nothing.
  flushCompileCache();
  await stopped;
  await beforeStop?.();
}
