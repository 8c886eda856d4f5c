/** Has a callback called at every change until the returned function is called. */
export type Subscribe = (callback: () => void) => () => void;

/** Resolves at the next change that any of the subscriptions tells of, or when the signal aborts. */
export function nextChange(subscriptions: readonly Subscribe[], signal: AbortSignal): Promise<void> {
  return new Promise((resolve) => {
    const stops: (() => void)[] = [];
    const finish = (): void => {
      for (const stop of stops) stop();
      signal.removeEventListener("abort", finish);
      resolve();
    };
    for (const subscribe of subscriptions) stops.push(subscribe(finish));
    signal.addEventListener("abort", finish);
    if (signal.aborted) finish();
  });
}
