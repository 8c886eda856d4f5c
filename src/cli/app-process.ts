import type { ChildProcess } from "node:child_process";
import { constants } from "node:os";
import { CliError, exitCode } from "./exit-codes.ts";

const restartMillisMin = 200;
const restartMillisMax = 5_000;
/** An application that has lasted so long is started again at once. */
const steadyMillis = 10_000;
const stopMillisMax = 5_000;

/** A running application; disposing of it ends it. */
export interface AppProcess extends AsyncDisposable {
  /** Asks the present process to end. */
  readonly stop: () => void;
  /** Resolves to the exit code in the shell's convention; never where it is started again. */
  readonly exited: Promise<number>;
}

/**
 * Starts an application and resolves once its process is there. With `restarts` it is started again whenever it ends
 * unasked, later each time that it does so soon. Throws a {@link CliError} where `file` cannot be run.
 */
export async function openApp(
  start: () => ChildProcess,
  { file, restarts }: { readonly file: string; readonly restarts: boolean },
): Promise<AppProcess> {
  let child = start();
  let ended = endOf(child, file);
  let isStopping = false;
  let delay = restartMillisMin;
  let timer: NodeJS.Timeout | undefined;
  const startAgain = (): void => {
    child = start();
    ended = endOf(child, file);
    keep();
  };
  const keep = (): void => {
    const startedMillis = performance.now();
    const restart = (): void => {
      if (isStopping) return;
      if (performance.now() - startedMillis > steadyMillis) delay = restartMillisMin;
      timer = setTimeout(startAgain, delay);
      delay = Math.min(delay * 2, restartMillisMax);
    };
    ended.then(restart, restart);
  };
  await Promise.race([ended, new Promise((resolve) => child.once("spawn", resolve))]);
  if (restarts) keep();
  return {
    stop: () => void child.kill("SIGTERM"),
    exited: restarts ? new Promise(() => {}) : ended,
    [Symbol.asyncDispose]: async () => {
      isStopping = true;
      clearTimeout(timer);
      if (child.exitCode === null && child.signalCode === null) child.kill("SIGTERM");
      const killer = setTimeout(() => child.kill("SIGKILL"), stopMillisMax);
      await ended.catch(() => 0);
      clearTimeout(killer);
    },
  };
}

function endOf(child: ChildProcess, file: string): Promise<number> {
  return new Promise((resolve, reject) => {
    child.once("error", (cause) =>
      reject(
        new CliError(exitCode.notFound, `cannot run ${file}; write the command and its arguments after --`, {
          cause,
        }),
      ),
    );
    child.once("exit", (code, signal) =>
      resolve(code ?? 128 + (signal === null ? 0 : constants.signals[signal])),
    );
  });
}
