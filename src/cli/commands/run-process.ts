import { flushCompileCache } from "node:module";
import { messageOf } from "../../base/mesh-error.ts";
import { exitCode } from "../exit-codes.ts";
import { endWhileOpening, tellParent, untilStopped } from "../until-stopped.ts";

/** How what a process runs ends it. */
export interface ProcessEnd {
  /** Because it cannot go on: with an error, so that a supervisor starts it again. */
  readonly broken: (error: unknown) => void;
  /** Because its instance was revoked, for this reason. */
  readonly revoked: (reason: string) => void;
  /** Because it has nothing left to do. */
  readonly finished: () => void;
}

/** Runs what `open` opens until this process is asked to stop, or ends itself; a supervisor hears how it went. */
export async function runProcess(
  open: (stack: AsyncDisposableStack, end: ProcessEnd) => Promise<Readonly<Record<string, string>>>,
  beforeStop?: () => Promise<void>,
): Promise<void> {
  const ending = new AbortController();
  let isRevoked = false;
  const stopped = untilStopped(ending.signal);
  const finished = (): void => ending.abort();
  const broken = (error: unknown): void => {
    process.stderr.write(`troth: ${messageOf(error)}\n`);
    process.exitCode = exitCode.failed;
    finished();
  };
  const revoked = (reason: string): void => {
    const message = `this instance was revoked (${reason}) and never counts again; another start is another instance, unless the service is held`;
    process.stderr.write(`troth: ${message}\n`);
    tellParent({ kind: "revoked", message });
    process.exitCode = exitCode.revoked;
    isRevoked = true;
    finished();
  };
  const opened = endWhileOpening(stopped);
  await using stack = new AsyncDisposableStack();
  try {
    const addresses = await open(stack, { broken, revoked, finished });
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
  // Nobody it serves would hear it any more.
  if (!isRevoked) await beforeStop?.();
}
