import { fail, ok, type Result } from "../base/result.ts";
import {
  isStrictArray,
  isStrictObject,
  parseStrictJson,
  type StrictJson,
  type StrictJsonRefusal,
} from "../base/strict-json.ts";
import { type CheckedServiceAccount, isClusterName, isClusterUid } from "./service-account-token.ts";
import { shown } from "./token-claims.ts";

/** What a review is judged by, besides itself. */
export interface ReviewChecks {
  /** The audience that was asked about; that of the cluster's API itself unless given. */
  readonly audience: string | undefined;
}

/** Why a review does not say whose a token is. */
export type ReviewRefusal =
  | StrictJsonRefusal
  | "not-a-review"
  | "not-authenticated"
  | "wrong-audience"
  | "no-service-account"
  | "no-pod"
  | "malformed-claim";

/** The longest answer of a cluster to a review, in bytes. */
export const reviewBytesMax = 65_536;

const podNameKey = "authentication.kubernetes.io/pod-name";
const podUidKey = "authentication.kubernetes.io/pod-uid";
const detailCharactersMax = 200;

/**
 * Judges what a cluster's API answers to a TokenReview (`authentication.k8s.io/v1`): the token is good now, for this
 * audience, and of an account that it bound to a pod, which the cluster then knows to be there. Never throws.
 */
export function checkTokenReview(
  text: string,
  { audience }: ReviewChecks,
): Result<CheckedServiceAccount, ReviewRefusal> {
  const json = parseStrictJson(text);
  if (!json.ok) return json;
  const review = json.value;
  if (
    memberOf(review, "kind") !== "TokenReview" ||
    memberOf(review, "apiVersion") !== "authentication.k8s.io/v1"
  )
    return fail("not-a-review", "kind or apiVersion");
  const status = memberOf(review, "status");
  if (memberOf(status, "authenticated") !== true) {
    const why = memberOf(status, "error");
    return fail("not-authenticated", typeof why === "string" ? why.slice(0, detailCharactersMax) : "");
  }
  // A server that knows nothing of audiences answers without any, and has not looked at them.
  const audiences = memberOf(status, "audiences");
  if (audience !== undefined && !(isStrictArray(audiences) && audiences.includes(audience)))
    return fail("wrong-audience", `not for ${audience}`);
  return accountOf(memberOf(status, "user"));
}

function accountOf(
  user: StrictJson | undefined,
): Result<CheckedServiceAccount, "no-service-account" | "no-pod" | "malformed-claim"> {
  const name = memberOf(user, "username");
  const [, , namespace, serviceAccount, ...rest] =
    typeof name === "string" && name.startsWith("system:serviceaccount:") ? name.split(":") : [];
  if (!isClusterName(namespace) || !isClusterName(serviceAccount) || rest.length > 0)
    return fail("no-service-account", typeof name === "string" ? shown(name) : "no username");
  const extra = memberOf(user, "extra");
  const [podName, podUid] = [onlyText(memberOf(extra, podNameKey)), onlyText(memberOf(extra, podUidKey))];
  // A token that is bound to no pod can be anywhere.
  if (podName === undefined && podUid === undefined) return fail("no-pod");
  if (!isClusterName(podName) || !isClusterUid(podUid)) return fail("malformed-claim", "pod");
  const account = { namespace, serviceAccount, podName, podUid };
  // oxlint-disable-next-line typescript/no-unsafe-type-assertion -- one of two places where every check has passed
  return ok(account as CheckedServiceAccount);
}

function memberOf(value: StrictJson | undefined, name: string): StrictJson | undefined {
  return isStrictObject(value) ? value.get(name) : undefined;
}

function onlyText(value: StrictJson | undefined): string | undefined {
  const [text, ...others] = isStrictArray(value) ? value : [];
  return typeof text === "string" && others.length === 0 ? text : undefined;
}
