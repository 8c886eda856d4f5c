import type { ForwardedRequest, Forwarding, RequestHead, Upstream } from "./forwarding.ts";
import type { Verdict } from "./verdict.ts";

/** What asking for a verdict needs of the connection that asks. */
export interface VerdictAsker {
  /** Takes the verdict, at once or later; undefined where deciding failed. */
  readonly settle: (verdict: Verdict | undefined) => void;
  /** Runs what nobody on the stack can catch; what it throws is a fault of ours and ends the connection. */
  readonly guard: (run: () => void) => void;
  readonly onFault: ((fault: unknown) => void) | undefined;
}

/** Has a request decided on. A throw or rejection is a fault of ours, and no verdict. */
export function askForVerdict(
  decide: (request: RequestHead) => Verdict | Promise<Verdict>,
  request: RequestHead,
  { settle, guard, onFault }: VerdictAsker,
): void {
  let verdict: Verdict | Promise<Verdict> | undefined;
  try {
    verdict = decide(request);
  } catch (fault) {
    onFault?.(fault);
  }
  if (!(verdict instanceof Promise)) return settle(verdict);
  verdict.then(
    (answer) => guard(() => settle(answer)),
    (fault: unknown) => {
      onFault?.(fault);
      guard(() => settle(undefined));
    },
  );
}

/** Has an upstream take a request on; undefined where it threw, which is a fault of ours. */
export function beginAt(
  upstream: Upstream,
  request: ForwardedRequest,
  onFault: ((fault: unknown) => void) | undefined,
): Forwarding | undefined {
  try {
    return upstream.begin(request);
  } catch (fault) {
    onFault?.(fault);
    return undefined;
  }
}
