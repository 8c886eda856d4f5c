import type { Clock } from "../../base/clock.ts";
import type { Log } from "../../base/log.ts";
import { tokenBytesMax } from "../../crypto/index.ts";
import { checkServiceAccountToken } from "../../identity/index.ts";
import type { CallerProcess } from "../../peer-process/index.ts";
import { ClusterKeys, type KeySetSource } from "./cluster-keys.ts";
import { readInProcess } from "./read-in-process.ts";

/** Where Kubernetes projects a pod's token, as the pod's processes see it. */
const tokenPathDefault = "/var/run/secrets/kubernetes.io/serviceaccount/token";

/** The cluster whose pods are told apart. */
export interface KubernetesOptions {
  /** `iss` of its service-account tokens, to the letter. */
  readonly issuer: string;
  readonly keys: KeySetSource;
  /** An audience that tokens must have; any unless given. */
  readonly audience?: string;
  /** Absolute, in a caller's own mount namespace; where Kubernetes projects it unless given. */
  readonly tokenPath?: string;
}

/** What a process is in a Kubernetes cluster, by the service-account token that it has. */
export class KubernetesSelectors {
  readonly #options: KubernetesOptions;
  readonly #clock: Clock;
  readonly #log: Log;
  readonly #keys: ClusterKeys;

  constructor(options: KubernetesOptions, { clock, log }: { readonly clock: Clock; readonly log: Log }) {
    this.#options = options;
    this.#clock = clock;
    this.#log = log;
    this.#keys = new ClusterKeys(options.keys, clock, log);
  }

  /** In SPIRE's words: `k8s:ns`, `k8s:sa`, `k8s:pod-name`, `k8s:pod-uid`; none without a token that holds. Never throws. */
  async of(process: CallerProcess): Promise<readonly string[]> {
    const token = await readInProcess(process, this.#options.tokenPath ?? tokenPathDefault, tokenBytesMax);
    if (token === undefined) return [];
    const known = this.#check(token, await this.#keys.current());
    const isRotated = !known.ok && known.reason === "unknown-key";
    const checked = isRotated ? this.#check(token, await this.#keys.again()) : known;
    if (!checked.ok) {
      const { reason, detail } = checked;
      this.#log.debug("service-account token refused", { pid: process.pid, reason, detail });
      return [];
    }
    const { namespace, serviceAccount, podName, podUid } = checked.value;
    return [
      `k8s:ns:${namespace}`,
      `k8s:sa:${serviceAccount}`,
      `k8s:pod-name:${podName}`,
      `k8s:pod-uid:${podUid}`,
    ];
  }

  #check(
    token: string,
    keys: Awaited<ReturnType<ClusterKeys["current"]>>,
  ): ReturnType<typeof checkServiceAccountToken> {
    const { issuer, audience } = this.#options;
    return checkServiceAccountToken(token, { issuer, audience, keys, nowSeconds: this.#clock.nowSeconds() });
  }
}
