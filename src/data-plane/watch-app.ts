import net from "node:net";

const startIntervalMillis = 100;
const steadyIntervalMillis = 2_000;
const probeTimeoutMillis = 1_000;
/** So many failures in a row take a working application out of the routes. */
const failuresMax = 2;

/** Probes whether the application accepts connections, and tells whenever that changes. */
export function watchApp(
  address: { readonly host: string; readonly port: number },
  changed: (isUp: boolean) => void,
): Disposable {
  let isUp = false;
  let failures = 0;
  let timer: NodeJS.Timeout | undefined;
  let isClosed = false;
  let probing: net.Socket | undefined;
  const probe = (): void => {
    const socket = net.connect(address);
    probing = socket;
    let hasSettled = false;
    const settle = (isReachable: boolean): void => {
      socket.destroy();
      if (hasSettled || isClosed) return;
      hasSettled = true;
      failures = isReachable ? 0 : failures + 1;
      const next = isReachable || (isUp && failures < failuresMax);
      if (next !== isUp) changed(next);
      isUp = next;
      timer = setTimeout(probe, isUp ? steadyIntervalMillis : startIntervalMillis);
    };
    socket.setTimeout(probeTimeoutMillis, () => settle(false));
    socket.once("connect", () => settle(true));
    socket.once("error", () => settle(false));
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
