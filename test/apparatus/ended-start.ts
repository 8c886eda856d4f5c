import { failed, type Outcome, ok } from "../proofs/claim.ts";
import { observeStart, type PreparedClone } from "./clean-clone.ts";
import { listeningSockets, processesMarked, stillListening, untilGone } from "./marked-processes.ts";
import type { RunningCommand } from "./running-command.ts";

const goneMillisMax = 12_000;
const readyMillisMax = 60_000;
const stopMillisMax = 20_000;

/**
 * Starts `npm start` in a prepared clone, ends it in some way, and expects that soon no process of it is left and no
 * port listens, that the log verifies, and that the next start resumes.
 */
export async function proveNothingIsLeft(
  clone: PreparedClone,
  end: (command: RunningCommand) => void,
): Promise<Outcome> {
  await using command = clone.npmStart();
  const start = await observeStart(clone, command);
  const processes = processesMarked(command.mark);
  const sockets = listeningSockets(processes.map(({ pid }) => pid));
  if (processes.length < 10 || sockets.size < 10)
    return failed(`only ${processes.length} processes and ${sockets.size} ports were seen to begin with`);

  const endedAt = performance.now();
  end(command);
  const left = await untilGone(command.mark, goneMillisMax);
  const millis = performance.now() - endedAt;
  if (left.length > 0) {
    const words = left.map(({ pid, command: words }) => `${pid} ${words.slice(1, 4).join(" ")}`);
    return failed(`${left.length} of ${processes.length} processes are left after 12 s: ${words.join("; ")}`);
  }
  const ports = await stillListening(sockets);
  if (ports.length > 0) return failed(`ports still listen: ${ports.join(", ")}`);

  const verified = await clone.troth("log", "verify");
  if (verified.code !== 0) return failed(`troth log verify: ${verified.stdout}${verified.stderr}`);
  await using next = clone.startTroth("up");
  const line = await next.untilLine(/^ready/, readyMillisMax);
  next.kill("SIGTERM");
  await next.ended(stopMillisMax);
  if (!line.includes("resumed")) return failed(`the next start did not resume: ${line}`);
  return ok(
    `${processes.length} processes and ${sockets.size} ports gone after ${millis.toFixed(0)} ms; ` +
      `${verified.stdout.split(",")[0]}; the next start resumed (log of ${start.status.treeSize} or more)`,
  );
}

/** The process of `npm start` that stands between npm and Troth. */
export function bootstrapOf(command: RunningCommand): number {
  const found = processesMarked(command.mark).find(
    (one) => one.command[1]?.endsWith("bootstrap.mjs") === true,
  );
  if (found === undefined) throw new Error("no bootstrap process");
  return found.pid;
}
