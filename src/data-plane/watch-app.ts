import net from "node:net";
import type { Log } from "../base/log.ts";
import { codeOf, messageOf } from "../base/mesh-error.ts";

const startIntervalMillis = 100;
const steadyIntervalMillis = 2_000;
const probeTimeoutMillis = 1_000;
/** So many failures in a row take a working application out of the routes. */
const failuresMax = 2;

/** What says that this process could not ask, not that the application did not answer. */
const ownShortages: ReadonlySet<string> = new Set(["EMFILE", "ENFILE", "ENOBUFS", "ENOMEM", "EADDRNOTAVAIL"]);

/** Probes whether the application accepts connections, and tells whenever that changes. */
export function watchApp(
  address: { readonly host: string; readonly port: number },
  log: Log,
  changed: (isUp: boolean) => void,
): Disposable {
  let isUp = false;
  let isShort = false;
  let failures = 0;
  let timer: NodeJS.Timeout | undefined;
  let isClosed = false;
  let probing: net.Socket | undefined;
  const probe = (): void => {
    const socket = net.connect(address);
    probing = socket;
    let hasSettled = false;
    const settle = (isReachable: boolean, error?: Error): void => {
      socket.destroy();
      if (hasSettled || isClosed) return;
      hasSettled = true;
      const couldAsk = !ownShortages.has(codeOf(error) ?? "");
      if (couldAsk) failures = isReachable ? 0 : failures + 1;
      // The kernel turns connections away unseen where descriptors have run out; here it is seen.
      if (!couldAsk && !isShort)
        log.error("no connection can be opened or taken; those that are open are served", {
          error: messageOf(error),
        });
      if (couldAsk && isShort) log.info("connections can be opened and taken again");
      isShort = !couldAsk;
      const next = isReachable || (isUp && failures < failuresMax);
      if (next !== isUp) changed(next);
      isUp = next;
      timer = setTimeout(probe, isUp ? steadyIntervalMillis : startIntervalMillis);
    };
    socket.setTimeout(probeTimeoutMillis, () => settle(false));
    socket.once("connect", () => settle(true));
    socket.once("error", (error) => settle(false, error));
  };
  probe();
  return {
    [Symbol.dispose]: () => {
      isClosed = true;
      clearTimeout(timer);
      probing?.destroy();
    },
  };
}
