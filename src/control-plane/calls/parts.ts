import type { Clock } from "../../base/clock.ts";
import type { LogSource } from "../../transport/index.ts";
import type { Federation } from "../federation/open-federation.ts";
import type { FollowerRegistry } from "../follower-registry.ts";
import type { HeldAuthorities } from "../held-authorities.ts";
import type { Issuer } from "../issue-instance-svid.ts";
import type { TokenIssuer } from "../issue-instance-token.ts";
import type { Proposals } from "../proposals.ts";
import type { RequestTokenIssuer } from "../request-token-issuer.ts";
import type { RevocationLists } from "../revocation-lists.ts";
import type { RollbackGuard } from "../rollback-guard.ts";
import type { Sessions } from "../sessions.ts";
import type { HeldTokenKeys } from "../token-keys.ts";

/** What the calls work on. */
export interface ControlPlaneParts {
  readonly issuer: Issuer;
  readonly authorities: HeldAuthorities;
  readonly tokens: TokenIssuer;
  readonly tokenKeys: HeldTokenKeys;
  readonly requestTokens: RequestTokenIssuer;
  readonly registry: FollowerRegistry;
  readonly federation: Federation;
  readonly guard: RollbackGuard;
  readonly source: LogSource;
  readonly proposals: Proposals;
  readonly revocationLists: RevocationLists;
  readonly sessions: Sessions;
  readonly clock: Clock;
  /** Aborts when the control plane closes, so that no stream outlives it. */
  readonly closing: AbortSignal;
}
