import { hexOf, sameBytes } from "../../base/bytes.ts";
import type { CompactJws } from "../../crypto/index.ts";
import { checkJwtSvid, checkWitSvid, type TokenKeys } from "../../identity/index.ts";
import { type DomainBundle, federatedBundles, ownBundle } from "../../node-agent/index.ts";
import { keyPeriodAt, type RequestToken, requestDigest } from "../../request-token/index.ts";
import { isTokenInForce, requestTokenPolicyOf, type TrustState } from "../../trust-log/index.ts";
import { CliError, exitCode } from "../exit-codes.ts";
import { meshDirectory } from "../mesh-directory.ts";
import { OperatorClient } from "../operator-client.ts";
import { blockOf, durationOf, momentOf, type OutputFormat, printAnswer, tableOf } from "../output.ts";
import { isWitSvid, readPresentedToken } from "../presented-token.ts";
import { systemClock } from "../system.ts";
import { requireServiceName } from "./run-service.ts";

/** What `troth token verify` takes. */
export interface VerifyTokenOptions {
  readonly dir: string;
  readonly output: OutputFormat;
  /** Whom a JWT-SVID has to be for. */
  readonly audience?: string;
  /** The service that a request token was shown to, and the request that it came with. */
  readonly to?: string;
  readonly method?: string;
  readonly path?: string;
  readonly contentDigest: string;
}

/** What came of one step of a check; what cannot be checked here is said to be so. */
interface Step {
  readonly step: string;
  readonly outcome: "ok" | "failed" | "not-checked";
  readonly detail: string;
}

/** `troth token verify [TOKEN]`: all that can be checked of a token with what the trust log says. */
export async function verifyToken(argument: string | undefined, options: VerifyTokenOptions): Promise<void> {
  const presented = await readPresentedToken(argument);
  using client = await OperatorClient.open(meshDirectory(options.dir));
  if (presented.kind === "jwt") verifyJwt(presented, client.state, options);
  else verifyRequestToken(presented.token, client.state, options);
}

/**
 * A request token is for one process, which alone has the key and the nonces that it has seen. So this says whether
 * anything speaks against it, and what nobody else can say.
 */
function verifyRequestToken(token: RequestToken, state: TrustState, options: VerifyTokenOptions): void {
  const destination = options.to === undefined ? undefined : requireServiceName(options.to);
  const steps = [
    demandStep(token, state, destination),
    keyPeriodStep(token),
    timeStep(token, state, destination),
    certificateStep(token, state),
    requestStep(token, destination, options),
    { step: "tag", outcome: "not-checked", detail: "the key has the issuer and the proxy that it is for" },
    { step: "nonce", outcome: "not-checked", detail: "what was used is known to the proxy that it is for" },
  ] as const;
  const failed = steps.filter(({ outcome }) => outcome === "failed");
  const isRefused = failed.length > 0;
  printAnswer(options.output, "RequestTokenVerification", { isRefused, steps }, () => {
    const table = tableOf(
      ["STEP", "OUTCOME", "DETAIL"],
      steps.map(({ step, outcome, detail }) => [
        step,
        outcome === "not-checked" ? "not checked" : outcome,
        detail,
      ]),
    );
    return `${table}\n${isRefused ? "A proxy would refuse it." : "Nothing speaks against it; what was not checked may."}\n`;
  });
  if (isRefused) throw new CliError(exitCode.no, "");
}

function demandStep({ mode }: RequestToken, state: TrustState, destination: string | undefined): Step {
  if (destination === undefined) return { step: "mode", outcome: "not-checked", detail: "takes --to" };
  const policy = requestTokenPolicyOf(state, destination);
  if (policy.mode === "off")
    return { step: "mode", outcome: "ok", detail: `${destination} wants no request tokens and minds none` };
  const isEnough = mode === policy.mode || mode === "per-request";
  const detail = `${mode}; ${destination} wants ${policy.mode} by the entry for ${policy.to}`;
  return { step: "mode", outcome: isEnough ? "ok" : "failed", detail };
}

function keyPeriodStep({ keyPeriod, issuedAtMillis }: RequestToken): Step {
  const belongs = keyPeriodAt(issuedAtMillis);
  return belongs === keyPeriod
    ? { step: "key period", outcome: "ok", detail: String(keyPeriod) }
    : { step: "key period", outcome: "failed", detail: `${keyPeriod}, and its time is in ${belongs}` };
}

function timeStep(
  { issuedAtMillis }: RequestToken,
  state: TrustState,
  destination: string | undefined,
): Step {
  const { window } = requestTokenPolicyOf(state, destination ?? "/");
  const ageSeconds = systemClock.nowSeconds() - issuedAtMillis / 1_000;
  const isInside = ageSeconds <= window.pastSeconds && -ageSeconds <= window.futureSeconds;
  const age = ageSeconds >= 0 ? `${durationOf(ageSeconds)} old` : `${durationOf(-ageSeconds)} ahead`;
  return {
    step: "time",
    outcome: isInside ? "ok" : "failed",
    detail: `${age} by this machine's clock; allowed are ${window.pastSeconds} s, and ${window.futureSeconds} s ahead`,
  };
}

function certificateStep({ certificateFingerprint }: RequestToken, state: TrustState): Step {
  const id = hexOf(certificateFingerprint);
  const step = "certificate";
  const revoked = state.revokedCertificates.get(id);
  if (revoked !== undefined)
    return { step, outcome: "failed", detail: `of ${revoked.spiffeId}, revoked: ${revoked.reason}` };
  const known = state.certificates.get(id);
  if (known === undefined)
    return {
      step,
      outcome: "failed",
      detail: `the trust log has none with SHA-256 ${id.slice(0, 16)}…, or not any more`,
    };
  const remaining = known.notAfterSeconds - systemClock.nowSeconds();
  if (remaining <= 0)
    return {
      step,
      outcome: "failed",
      detail: `of ${known.spiffeId}, ended ${momentOf(known.notAfterSeconds)}`,
    };
  const detail = `of ${known.spiffeId}, instance ${known.instance}, ends in ${durationOf(remaining)}`;
  return { step, outcome: "ok", detail };
}

function requestStep(
  token: RequestToken,
  destination: string | undefined,
  options: VerifyTokenOptions,
): Step {
  const { method, path, contentDigest } = options;
  const step = "request";
  if (destination === undefined || method === undefined || path === undefined)
    return { step, outcome: "not-checked", detail: "takes --to, --method and --path" };
  const digest = requestDigest({ method, destination, path, contentDigest });
  const detail = `${method} ${path} of ${destination}`;
  return sameBytes(digest, token.requestDigest)
    ? { step, outcome: "ok", detail }
    : { step, outcome: "failed", detail: `minted for another than ${detail}` };
}

function verifyJwt(
  { text, jws }: { readonly text: string; readonly jws: CompactJws },
  state: TrustState,
  options: VerifyTokenOptions,
): void {
  const isWit = isWitSvid(jws);
  const checks = {
    keysOf: (trustDomain: string) => keysOf(state, trustDomain, isWit),
    nowSeconds: systemClock.nowSeconds(),
    // Of other trust domains the log knows no more than their keys.
    isRevoked: (token: Parameters<typeof isTokenInForce>[1] & { readonly trustDomain: string }) =>
      token.trustDomain === state.genesis?.trustDomain && !isTokenInForce(state, token),
  };
  const checked = isWit
    ? checkWitSvid(text, checks)
    : checkJwtSvid(text, { ...checks, audience: requireAudience(options.audience) });
  const type = isWit ? "WIT-SVID" : "JWT-SVID";
  if (!checked.ok) {
    const { reason, detail } = checked;
    printAnswer(options.output, "JwtVerification", { type, isRefused: true, reason, detail }, () =>
      blockOf([
        [type, "refused"],
        ["Reason", reason],
        ["Detail", detail],
      ]),
    );
    throw new CliError(exitCode.no, "");
  }
  const { spiffeId, expiresAtSeconds, id } = checked.value;
  const caution = isWit
    ? "whoever shows it has to prove that the key in it is theirs"
    : "whoever has it can show it";
  const view = { type, isRefused: false, spiffeId, expiresAtSeconds, ...(id === undefined ? {} : { id }) };
  printAnswer(options.output, "JwtVerification", view, () =>
    blockOf([
      [type, `holds; ${caution}`],
      ["SPIFFE ID", spiffeId],
      ["Ends", `${momentOf(expiresAtSeconds)}, in ${durationOf(expiresAtSeconds - checks.nowSeconds)}`],
      ["ID", id ?? "-"],
    ]),
  );
}

function requireAudience(audience: string | undefined): string {
  if (audience !== undefined) return audience;
  throw new CliError(
    exitCode.usage,
    "a JWT-SVID is for somebody; say for whom it has to be: --audience NAME",
  );
}

function keysOf(state: TrustState, trustDomain: string, isWit: boolean): TokenKeys | undefined {
  const bundles: readonly DomainBundle[] = [ownBundle(state), ...federatedBundles(state)];
  const bundle = bundles.find((one) => one.trustDomain === trustDomain);
  return isWit ? bundle?.witKeys : bundle?.jwtKeys;
}
