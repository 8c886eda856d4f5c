import { Code, ConnectError, type HandlerContext } from "@connectrpc/connect";
import type { Update } from "../../protocol/index.ts";
import { serveLog } from "../../transport/index.ts";
import type { ControlPlaneParts } from "./parts.ts";

/** The trust log from a size on, until the caller goes or the control plane closes. */
export function readLog(
  parts: ControlPlaneParts,
  {
    fromSize,
    ...shown
  }: { readonly fromSize: bigint; readonly acceptsSnapshot?: boolean; readonly checkpoint?: Uint8Array },
  { context, isLive }: { readonly context: HandlerContext; readonly isLive: boolean },
): AsyncIterable<Update> {
  if (fromSize > BigInt(Number.MAX_SAFE_INTEGER))
    throw new ConnectError("no log is that long", Code.InvalidArgument);
  const signal = AbortSignal.any([context.signal, parts.closing]);
  const { acceptsSnapshot = false, checkpoint = new Uint8Array(0) } = shown;
  return serveLog(parts.source, { fromSize: Number(fromSize), acceptsSnapshot, checkpoint, isLive }, signal);
}

/**
 * Counts a stream of a caller until the result is disposed of or the call is over, whichever comes first: a stream
 * whose reader went without reading is never resumed, so it never disposes of anything.
 */
export function takePlace(
  streams: Map<string, number>,
  caller: string,
  { countMax, signal }: { readonly countMax: number; readonly signal: AbortSignal },
): Disposable {
  const count = streams.get(caller) ?? 0;
  if (count >= countMax) throw new ConnectError("too many streams", Code.ResourceExhausted);
  streams.set(caller, count + 1);
  let isHeld = true;
  const release = (): void => {
    if (!isHeld) return;
    isHeld = false;
    const left = (streams.get(caller) ?? 1) - 1;
    if (left > 0) streams.set(caller, left);
    else streams.delete(caller);
  };
  signal.addEventListener("abort", release, { once: true });
  return { [Symbol.dispose]: release };
}
