import { type RequestTokenRefusal, requestTokenStatus } from "../request-token/index.ts";
import { type ResponseHead, responseValues } from "./forwarding/index.ts";

/** Why a proxy does not let a request in for want of a good request token. */
export type TokenGateRefusal =
  | RequestTokenRefusal
  /** It has not got the keys to check by; the issuer cannot be reached. */
  | "request-token-keys-missing";

/** What a proxy tells the proxy that asked, and nobody else, where it refuses a request token. */
export interface TokenAnswer {
  /** As the caller hears it. */
  readonly reason: TokenGateRefusal;
  /** `<instance uuid>/<boot id>` of the proxy that refuses. */
  readonly audience: string;
  /** The issuer's time as that proxy knows it, where it is the time that was wrong. */
  readonly issuerMillis: number | undefined;
}

/** The status that goes with a refusal. */
export function tokenRefusalStatus(reason: TokenGateRefusal): number {
  return reason === "request-token-keys-missing" ? 503 : requestTokenStatus[reason];
}

/** The header lines of a refusal; every proxy drops such lines from what it passes on, so no application can say them. */
export function tokenAnswerLines({ reason, audience, issuerMillis }: TokenAnswer): [string, string][] {
  const lines: [string, string][] = [
    [refusedName, reason],
    [audienceName, audience],
  ];
  if (issuerMillis !== undefined) lines.push([issuerTimeName, String(Math.floor(issuerMillis))]);
  return lines;
}

/** Reads a refusal; undefined where an answer is none, or names no reason that is known here. */
export function readTokenAnswer(head: ResponseHead): TokenAnswer | undefined {
  const [said] = responseValues(head, refusedName);
  const reason = said === undefined ? undefined : reasons.get(said);
  if (reason === undefined) return undefined;
  const [audience = ""] = responseValues(head, audienceName);
  const [time = ""] = responseValues(head, issuerTimeName);
  const issuerMillis = /^[0-9]{1,15}$/.test(time) ? Number(time) : undefined;
  return { reason, audience: audiencePattern.test(audience) ? audience : "", issuerMillis };
}

const refusedName = "troth-token-refused";
const audienceName = "troth-token-audience";
const issuerTimeName = "troth-issuer-time";
const audiencePattern = /^[0-9a-f-]{36}\/[0-9a-f]{16}$/;
const known: readonly TokenGateRefusal[] = [
  "request-token-missing",
  "request-token-malformed",
  "request-token-version",
  "request-token-mode",
  "request-token-key-unknown",
  "request-token-expired",
  "request-token-future",
  "request-token-certificate-revoked",
  "request-token-mismatch",
  "request-token-invalid",
  "request-token-replayed",
  "nonce-store-full",
  "request-token-keys-missing",
];
const reasons: ReadonlyMap<string, TokenGateRefusal> = new Map(known.map((reason) => [reason, reason]));
