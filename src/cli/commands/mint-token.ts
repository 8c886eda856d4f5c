import { hexOf } from "../../base/bytes.ts";
import { decideAnyAccess } from "../../policy/index.ts";
import { keyPeriodAt, keyPeriodStartsMillis, requestDigest } from "../../request-token/index.ts";
import { type RequestTokenPolicy, requestTokenPolicyOf, type TrustState } from "../../trust-log/index.ts";
import { CliError, exitCode } from "../exit-codes.ts";
import { meshDirectory } from "../mesh-directory.ts";
import { OperatorClient } from "../operator-client.ts";
import { blockOf, momentOf, type OutputFormat, printAnswer } from "../output.ts";
import { systemClock } from "../system.ts";
import { requireServiceName } from "./run-service.ts";

/** What `troth token mint` takes. */
export interface MintTokenOptions {
  readonly dir: string;
  readonly output: OutputFormat;
  readonly dryRun: boolean;
  readonly method: string;
  readonly path: string;
  readonly contentDigest: string;
}

/** What stands between two services and a request token, by the trust log as it is now. */
interface Plan {
  readonly from: string;
  readonly to: string;
  readonly mode: RequestTokenPolicy["mode"];
  /** The pattern of the entry that says so; empty where none does. */
  readonly by: string;
  /** Why no token would be had; empty where one would. */
  readonly obstacles: readonly string[];
  readonly spiffeId: string;
  readonly certificates: readonly { readonly instance: string; readonly sha256: string }[];
  readonly audiences: readonly string[];
  readonly keyPeriod: number;
  readonly keyPeriodEnds: string;
  readonly window: RequestTokenPolicy["window"];
  readonly requestDigest: string;
}

/**
 * `troth token mint FROM TO --dry-run`: what a request token for a request would be made of, and whether the issuer would
 * give a grant for it. There is no other form: a token is bound to a connection between two proxies.
 */
export async function mintToken(from: string, to: string, options: MintTokenOptions): Promise<void> {
  if (!options.dryRun)
    throw new CliError(
      exitCode.usage,
      "only a proxy can mint a request token: it is bound to the proxy's own connection and certificate. What it would be made of: --dry-run",
    );
  using client = await OperatorClient.open(meshDirectory(options.dir));
  const plan = planOf(client.state, client.domain.trustDomain, {
    ...options,
    from: requireServiceName(from),
    to: requireServiceName(to),
  });
  printAnswer(options.output, "RequestTokenPlan", plan, () => shown(plan, options));
  if (plan.mode !== "off" && plan.obstacles.length > 0) throw new CliError(exitCode.no, "");
}

interface Asked {
  readonly from: string;
  readonly to: string;
  readonly method: string;
  readonly path: string;
  readonly contentDigest: string;
}

function planOf(state: TrustState, trustDomain: string, asked: Asked): Plan {
  const { from, to } = asked;
  for (const service of [from, to])
    if (!state.services.has(service))
      throw new CliError(exitCode.notFound, `no service ${service} is registered; see: troth get service`);
  const policy = requestTokenPolicyOf(state, to);
  const certificates = [...state.certificates.entries()]
    .filter(([, { instance }]) => state.instances.get(instance)?.service === from)
    .map(([sha256, { instance }]) => ({ instance, sha256 }));
  const audiences = [...state.instances.entries()]
    .filter(([, { service }]) => service === to)
    .map(([instance]) => instance);
  const now = keyPeriodAt(systemClock.nowSeconds() * 1_000);
  return {
    from,
    to,
    mode: policy.mode,
    by: policy.to,
    obstacles: obstaclesTo(state, asked, { callers: certificates.length, audiences: audiences.length }),
    spiffeId: `spiffe://${trustDomain}${from}`,
    certificates,
    audiences,
    keyPeriod: now,
    keyPeriodEnds: momentOf(keyPeriodStartsMillis(now + 1) / 1_000),
    window: policy.window,
    requestDigest: hexOf(requestDigest({ ...asked, destination: to })),
  };
}

function obstaclesTo(
  state: TrustState,
  { from, to }: Asked,
  running: { readonly callers: number; readonly audiences: number },
): string[] {
  const rules = [...state.rules.entries()].map(([, rule]) => rule);
  const { effect, reason, rule } = decideAnyAccess(rules, { from, to });
  const obstacles: string[] = [];
  if (effect === "deny")
    obstacles.push(
      reason === "rule-denies"
        ? `the rule "${rule}" denies it: troth delete accesspolicy, or another rule`
        : `no rule allows it: troth allow ${from} ${to}`,
    );
  if (running.callers === 0) obstacles.push(`no instance of ${from} has a certificate`);
  if (running.audiences === 0) obstacles.push(`no instance of ${to} runs`);
  return obstacles;
}

function shown(plan: Plan, { method, path }: MintTokenOptions): string {
  const { mode, by, to, obstacles, window } = plan;
  const wants =
    mode === "off"
      ? `none: ${by === "" ? "no entry of the trust log speaks of it" : `the entry for ${by} says off`}`
      : `${mode}, by the entry for ${by}; ${window.pastSeconds} s old at most, ${window.futureSeconds} s ahead`;
  return blockOf([
    [`${to} wants`, wants],
    ["The issuer", obstacles.length === 0 ? "would give a grant" : "would give none"],
    ...(obstacles.length === 0 ? [] : [["Because", obstacles] as const]),
    ["Caller", plan.spiffeId],
    ["Certificates", plan.certificates.map(({ instance, sha256 }) => `${sha256} of ${instance}`)],
    ["Audiences", plan.audiences.map((instance) => `${instance}/<boot id of its proxy>`)],
    ["Key period", `${plan.keyPeriod}, until ${plan.keyPeriodEnds}`],
    ["Request", `${method} ${path}`],
    ["Request digest", plan.requestDigest],
  ]);
}
