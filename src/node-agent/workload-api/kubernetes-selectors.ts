import type { Clock } from "../../base/clock.ts";
import type { Log } from "../../base/log.ts";
import { fail, type Result } from "../../base/result.ts";
import { tokenBytesMax } from "../../crypto/index.ts";
import { type CheckedServiceAccount, checkServiceAccountToken } from "../../identity/index.ts";
import type { CallerProcess } from "../../peer-process/index.ts";
import { ClusterKeys, type KeySetSource } from "./cluster-keys.ts";
import { readInProcess } from "./read-in-process.ts";
import { type TokenReviewSource, TokenReviews } from "./token-reviews.ts";

/** Where Kubernetes projects a pod's token, as the pod's processes see it. */
const tokenPathDefault = "/var/run/secrets/kubernetes.io/serviceaccount/token";

/** The cluster whose pods are told apart; by its keys, by what its API says, or by both, which then have to agree. */
export interface KubernetesOptions {
  /** `iss` of its service-account tokens, to the letter, and the keys that sign them. */
  readonly signer?: { readonly issuer: string; readonly keys: KeySetSource };
  readonly review?: TokenReviewSource;
  /** An audience that tokens must have; any unless given, or that of the cluster's API where this is asked. */
  readonly audience?: string;
  /** Absolute, in a caller's own mount namespace; where Kubernetes projects it unless given. */
  readonly tokenPath?: string;
}

/** What a process is in a Kubernetes cluster, by the service-account token that it has. */
export class KubernetesSelectors {
  readonly #options: KubernetesOptions;
  readonly #clock: Clock;
  readonly #log: Log;
  readonly #keys: ClusterKeys | undefined;
  readonly #reviews: TokenReviews | undefined;

  constructor(options: KubernetesOptions, { clock, log }: { readonly clock: Clock; readonly log: Log }) {
    const { signer, review } = options;
    this.#options = options;
    this.#clock = clock;
    this.#log = log;
    this.#keys = signer === undefined ? undefined : new ClusterKeys(signer.keys, clock, log);
    this.#reviews = review === undefined ? undefined : new TokenReviews(review, clock, log);
  }

  /** In SPIRE's words: `k8s:ns`, `k8s:sa`, `k8s:pod-name`, `k8s:pod-uid`; none without a token that holds. Never throws. */
  async of(process: CallerProcess): Promise<readonly string[]> {
    const token = await readInProcess(process, this.#options.tokenPath ?? tokenPathDefault, tokenBytesMax);
    if (token === undefined) return [];
    const checked = await this.#accountOf(token);
    if (!checked.ok) {
      const { reason, detail } = checked;
      this.#log.debug("service-account token refused", { pid: process.pid, reason, detail });
      return [];
    }
    return selectorsOf(checked.value);
  }

  /** Signature and time first: a cluster is asked only about what it has signed. */
  async #accountOf(token: string): Promise<Result<CheckedServiceAccount, string>> {
    const { audience } = this.#options;
    const signed = this.#keys === undefined ? undefined : await this.#checkSigned(token, this.#keys);
    if (this.#reviews === undefined || signed?.ok === false) return signed ?? fail("no-cluster");
    const reviewed = await this.#reviews.review(token, audience);
    const isSame =
      !reviewed.ok ||
      signed === undefined ||
      selectorsOf(reviewed.value).join(" ") === selectorsOf(signed.value).join(" ");
    return isSame ? reviewed : fail("reviewed-as-another", selectorsOf(reviewed.value).join(" "));
  }

  async #checkSigned(token: string, keys: ClusterKeys): Promise<ReturnType<typeof checkServiceAccountToken>> {
    const known = this.#check(token, await keys.current());
    const isRotated = !known.ok && known.reason === "unknown-key";
    return isRotated ? this.#check(token, await keys.again()) : known;
  }

  #check(
    token: string,
    keys: Awaited<ReturnType<ClusterKeys["current"]>>,
  ): ReturnType<typeof checkServiceAccountToken> {
    const { signer, audience } = this.#options;
    const issuer = signer?.issuer ?? "";
    return checkServiceAccountToken(token, { issuer, audience, keys, nowSeconds: this.#clock.nowSeconds() });
  }
}

function selectorsOf({ namespace, serviceAccount, podName, podUid }: CheckedServiceAccount): string[] {
  return [
    `k8s:ns:${namespace}`,
    `k8s:sa:${serviceAccount}`,
    `k8s:pod-name:${podName}`,
    `k8s:pod-uid:${podUid}`,
  ];
}
