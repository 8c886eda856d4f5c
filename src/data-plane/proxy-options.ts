import type { AuditJournal } from "../audit/index.ts";
import type { Clock, RandomBytes } from "../base/clock.ts";
import type { Log } from "../base/log.ts";
import type { ServiceName } from "../identity/index.ts";
import type { SkippableStep } from "../request-token/index.ts";
import type { TracingOptions } from "../telemetry/index.ts";
import type { LogAnchor } from "../trust-log/index.ts";

/** What a proxy is for; what it says of itself to the control plane. */
export type ProxyRole = "sidecar" | "gateway" | "router" | "export";

/** What a proxy of any role needs. */
export interface ProxyOptions {
  readonly service: ServiceName;
  /** A UUID, new in every start: the instance ends with the process, and so does its key. */
  readonly instance: string;
  readonly anchor: LogAnchor & { readonly trustDomain: string };
  readonly agentSocketPath: string;
  /**
   * What it serves besides its service's own name, wherever the trust log grants that; nothing unless given. Whoever
   * holds a prefix may hand it to any service, and rules for it are not those of the service: hence both must say so.
   */
  readonly prefixes?: readonly ServiceName[];
  /** In a test domain: whether whoever says that it serves a prefix is believed, unchecked. Nobody is unless given. */
  readonly dangerBelieveAdvertisements?: boolean;
  /** Where the admin listener is; any port of 127.0.0.1 unless given. */
  readonly admin?: { readonly host: string; readonly port: number };
  /** Where spans go; nowhere unless given, and then trace headers pass as they came. */
  readonly tracing?: TracingOptions;
  readonly audit: {
    readonly journal: AuditJournal;
    readonly saveCheckpoint: (note: Uint8Array) => Promise<void>;
  };
  /** Called once where people, or the issuer, have revoked this instance: it is nobody from then on, for good. */
  readonly revoked?: (reason: string) => void;
  readonly clock: Clock;
  /** For jitter. */
  readonly random: () => number;
  /** For identifiers. */
  readonly randomBytes: RandomBytes;
  readonly log: Log;
  /** Steps of the check of request tokens to leave out, so that a test sees what each stops; in test domains only. */
  readonly dangerSkippedTokenSteps?: ReadonlySet<SkippableStep>;
}
