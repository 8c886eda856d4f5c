import { exitCode } from "./exit-codes.ts";
/**
 * Resolves when this process is asked to end: by a signal, or by the end of the parent that started it with an IPC
 * channel; or when `also` aborts. A second Ctrl-C arrives from npm with the first, so later requests change nothing.
 */
export function untilStopped(also?: AbortSignal): Promise<void> {
  return new Promise((resolve) => {
    const stop = (): void => resolve();
    also?.addEventListener("abort", stop);
    for (const signal of stopSignals) process.on(signal, stop);
    if (process.send === undefined) return;
    process.once("disconnect", stop);
    process.channel?.unref();
    if (!process.connected) stop();
  });
}

/** As {@link untilStopped}, or until `revoked` is called, which says so and has this process end with the code for it. */
export function untilStoppedOrRevoked(): {
  readonly stopped: Promise<void>;
  readonly revoked: (message: string) => void;
} {
  const ending = new AbortController();
  return {
    stopped: untilStopped(ending.signal),
    revoked: (message) => {
      process.stderr.write(`troth: ${message}\n`);
      process.exitCode = exitCode.revoked;
      ending.abort();
    },
  };
}

/** What a supervisor asks of a sidecar. */
export type ParentMessage =
  /** To end what it has, for so long at most, because another has its place. */
  | { readonly kind: "retire"; readonly drainSeconds: number }
  /** To be called no more, because its application ends; answered with `withdrawn`. */
  | { readonly kind: "withdraw" }
  /** To take this process for the application from now on; told to every sidecar that takes another's place, too. */
  | { readonly kind: "application"; readonly pid: number; readonly startedTicks: number };

/** Calls back with what the supervisor, if there is one, asks. */
export function onParentMessage(callback: (message: ParentMessage) => void): void {
  process.on("message", (raw) => {
    const message = parseParentMessage(raw);
    if (message !== undefined) callback(message);
  });
  // To listen keeps a process alive; that is for what it does to decide.
  process.channel?.unref();
}

/** Reads a message of a supervisor. */
export function parseParentMessage(message: unknown): ParentMessage | undefined {
  if (typeof message !== "object" || message === null || !("kind" in message)) return undefined;
  if (message.kind === "withdraw") return { kind: "withdraw" };
  if (message.kind === "application" && "pid" in message && "startedTicks" in message) {
    const { pid, startedTicks } = message;
    return typeof pid === "number" && typeof startedTicks === "number"
      ? { kind: "application", pid, startedTicks }
      : undefined;
  }
  const isRetire = message.kind === "retire" && "drainSeconds" in message;
  return isRetire && typeof message.drainSeconds === "number"
    ? { kind: "retire", drainSeconds: message.drainSeconds }
    : undefined;
}
/**
 * Lets a request to end that comes before the answer is called end this process at once, as a signal does to one that
 * does not listen: a start that is given up has nothing to finish, and may wait for what never comes.
 */
export function endWhileOpening(stopped: Promise<void>): () => void {
  let isOpening = true;
  void stopped.then(() => {
    if (!isOpening) return;
    for (const signal of stopSignals) process.removeAllListeners(signal);
    process.kill(process.pid, "SIGTERM");
  });
  return () => {
    isOpening = false;
  };
}

const stopSignals = ["SIGINT", "SIGTERM", "SIGHUP"] as const;

/** What a child tells its supervisor. */
export type ChildMessage =
  | { readonly kind: "ready"; readonly addresses: Readonly<Record<string, string>> }
  | { readonly kind: "failed"; readonly message: string }
  /** It ends because its instance was revoked; whoever starts it again starts another instance. */
  | { readonly kind: "revoked"; readonly message: string }
  | { readonly kind: "withdrawn" };

/** Tells the supervisor, if there is one. */
export function tellParent(message: ChildMessage): void {
  process.send?.(message);
}

/** Reads a message of a child. */
export function parseChildMessage(message: unknown): ChildMessage | undefined {
  if (typeof message !== "object" || message === null || !("kind" in message)) return undefined;
  const isSaid = message.kind === "failed" || message.kind === "revoked";
  if (isSaid && "message" in message && typeof message.message === "string")
    return { kind: message.kind === "failed" ? "failed" : "revoked", message: message.message };
  if (message.kind === "withdrawn") return { kind: "withdrawn" };
  if (message.kind !== "ready" || !("addresses" in message) || typeof message.addresses !== "object")
    return undefined;
  const addresses = Object.entries(message.addresses ?? {}).filter(
    (pair): pair is [string, string] => typeof pair[1] === "string",
  );
  return { kind: "ready", addresses: Object.fromEntries(addresses) };
}
