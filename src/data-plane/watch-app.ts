import http from "node:http";
import net from "node:net";
import type { Log } from "../base/log.ts";
import { codeOf, messageOf } from "../base/mesh-error.ts";

const startIntervalMillis = 100;

/** What says that this process could not ask, not that the application did not answer. */
const ownShortages: ReadonlySet<string> = new Set(["EMFILE", "ENFILE", "ENOBUFS", "ENOMEM", "EADDRNOTAVAIL"]);

/** How an application is found healthy or not. */
export interface HealthCheck {
  /** Asked for with GET, and healthy where it answers with less than 400; unless given, a connection is enough. */
  readonly path?: string;
  readonly intervalMillis: number;
  readonly timeoutMillis: number;
  /** So many failures in a row take a healthy application out of the routes. */
  readonly failuresMax: number;
  /** So many successes in a row bring it back. */
  readonly successesMin: number;
}

/** The check of an application for which none was asked for: that it takes connections. */
export const connectCheck: HealthCheck = {
  intervalMillis: 2_000,
  timeoutMillis: 1_000,
  failuresMax: 2,
  successesMin: 1,
};

/** The check where a path is given and nothing else: not healthy is known within about a second. */
export const pathCheck: HealthCheck = {
  intervalMillis: 500,
  timeoutMillis: 500,
  failuresMax: 2,
  successesMin: 2,
};

/** Why an application is not healthy: no connection, no answer in time, or a status, as `status-503`. */
export type HealthReason = "connect-failed" | "timeout" | `status-${number}`;

/** What came of one probe: the reason why it failed, or none; or that this process could not ask. */
type Probed = { readonly reason: HealthReason | undefined } | { readonly couldNotAsk: unknown };

/** Probes an application, and tells whenever it becomes healthy, or not, and why. */
export function watchApp(
  address: { readonly host: string; readonly port: number },
  parts: { readonly log: Log; readonly check?: HealthCheck | undefined },
  changed: (isUp: boolean, reason: HealthReason | undefined) => void,
): Disposable {
  const { log, check = connectCheck } = parts;
  let isUp = false;
  let isShort = false;
  let inRow = { failures: 0, successes: 0 };
  let timer: NodeJS.Timeout | undefined;
  let isClosed = false;
  let probing: Disposable | undefined;
  const settle = (probed: Probed): void => {
    if (isClosed) return;
    const isOwnShortage = "couldNotAsk" in probed;
    // The kernel turns connections away unseen where descriptors have run out; here it is seen.
    if (isOwnShortage && !isShort)
      log.error("no connection can be opened or taken; those that are open are served", {
        error: messageOf(probed.couldNotAsk),
      });
    if (!isOwnShortage && isShort) log.info("connections can be opened and taken again");
    isShort = isOwnShortage;
    if (!isOwnShortage) {
      const { reason } = probed;
      inRow =
        reason === undefined
          ? { failures: 0, successes: inRow.successes + 1 }
          : { failures: inRow.failures + 1, successes: 0 };
      const next = isUp ? inRow.failures < check.failuresMax : inRow.successes >= check.successesMin;
      if (next !== isUp) changed(next, reason);
      isUp = next;
    }
    // One that has just started, or is to come back, is called as soon as it can be.
    const isAwaited = !isUp && (check.path === undefined || inRow.successes > 0);
    timer = setTimeout(probe, isAwaited ? startIntervalMillis : check.intervalMillis);
  };
  const probe = (): void => {
    probing = check.path === undefined ? connect(address, check, settle) : get(address, check, settle);
  };
  probe();
  return {
    [Symbol.dispose]: () => {
      isClosed = true;
      clearTimeout(timer);
      probing?.[Symbol.dispose]();
    },
  };
}

type Settle = (probed: Probed) => void;
type Address = { readonly host: string; readonly port: number };

function connect(address: Address, { timeoutMillis }: HealthCheck, settle: Settle): Disposable {
  const socket = net.connect(address);
  const once = onlyOnce(settle, () => socket.destroy());
  socket.setTimeout(timeoutMillis, () => once({ reason: "timeout" }));
  socket.once("connect", () => once({ reason: undefined }));
  socket.on("error", (error) => once(failed(error)));
  return { [Symbol.dispose]: () => socket.destroy() };
}

function get({ host, port }: Address, { path, timeoutMillis }: HealthCheck, settle: Settle): Disposable {
  const request = http.get({ host, port, path, agent: false, headers: { "user-agent": "troth-health" } });
  const once = onlyOnce(settle, () => {
    clearTimeout(timer);
    request.destroy();
  });
  // From beginning to end: an application that sends a byte now and then does not answer.
  const timer = setTimeout(() => once({ reason: "timeout" }), timeoutMillis);
  request.once("response", ({ statusCode = 0 }) =>
    once({ reason: statusCode >= 200 && statusCode < 400 ? undefined : `status-${statusCode}` }),
  );
  request.on("error", (error) => once(failed(error)));
  return {
    [Symbol.dispose]: () => {
      clearTimeout(timer);
      request.destroy();
    },
  };
}

function failed(error: Error): Probed {
  return ownShortages.has(codeOf(error) ?? "") ? { couldNotAsk: error } : { reason: "connect-failed" };
}

function onlyOnce(settle: Settle, end: () => void): Settle {
  let hasSettled = false;
  return (probed) => {
    if (hasSettled) return;
    hasSettled = true;
    end();
    settle(probed);
  };
}
