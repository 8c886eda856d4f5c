import type { Socket } from "node:net";
import { type CallerProcess, endsOf, identifyCaller, Procfs, UnixCallers } from "../../peer-process/index.ts";
import { SecretDiscoveryService, SpiffeWorkloadAPI } from "../../protocol/index.ts";
import type { AgentPort } from "./agent-port.ts";
import { AttestedConnection, type IdentifyCaller } from "./connection-caller.ts";
import { type ContainerOptions, ContainerSelectors } from "./container-selectors.ts";
import { ExecutableHashes } from "./executable-hashes.ts";
import { KeptJwts } from "./kept-tokens.ts";
import { type KubernetesOptions, KubernetesSelectors } from "./kubernetes-selectors.ts";
import { type LocalEndpoint, openLocalListener } from "./open-local-listener.ts";
import { RevocationLists } from "./revocation-lists.ts";
import { secretCalls } from "./secret-calls.ts";
import { spiffeCalls } from "./spiffe-calls.ts";
import { WorkloadGrants } from "./workload-grants.ts";

/** What serving workloads takes. */
export interface WorkloadApiOptions {
  readonly endpoints: readonly LocalEndpoint[];
  /** After how long without a call that wants it an instance is ended; a minute unless given. */
  readonly idleMillis?: number;
  /** Who is at the other end of a connection; asks the kernel unless given. */
  readonly identify?: IdentifyCaller;
  /** The cluster whose pods are told apart; none unless given. */
  readonly kubernetes?: KubernetesOptions;
  /** The container runtime that is asked about containers; none unless given. */
  readonly containers?: ContainerOptions;
}

/** The SPIFFE Workload API and Envoy's SDS, served. */
export interface WorkloadApi extends AsyncDisposable {
  /** As `SPIFFE_ENDPOINT_SOCKET` has them, in the order of the endpoints. */
  readonly addresses: readonly string[];
  /** How many instances it keeps for its callers. */
  readonly instances: number;
}

/** Opens the endpoints of an agent at which workloads obtain identities. */
export async function openWorkloadApi(agent: AgentPort, options: WorkloadApiOptions): Promise<WorkloadApi> {
  await using opened = new AsyncDisposableStack();
  const closing = new AbortController();
  const procfs = new Procfs();
  const { kubernetes, containers } = options;
  const pods = kubernetes === undefined ? undefined : new KubernetesSelectors(kubernetes, agent);
  const engine =
    containers === undefined ? undefined : new ContainerSelectors(containers, { procfs, ...agent });
  const sources = {
    procfs,
    clock: agent.clock,
    hashes: new ExecutableHashes(),
    ...(pods === undefined ? {} : { kubernetes: (process: CallerProcess) => pods.of(process) }),
    ...(engine === undefined ? {} : { containers: (process: CallerProcess) => engine.of(process) }),
    isReviewed: kubernetes?.review !== undefined,
  };
  const unixCallers = new UnixCallers(procfs);
  const identify =
    options.identify ??
    ((socket: Socket) => {
      const ends = endsOf(socket);
      return ends === undefined ? unixCallers.identify(socket) : identifyCaller(ends, procfs);
    });
  const grants = opened.use(new WorkloadGrants(agent, procfs, options.idleMillis));
  const revocationLists = opened.use(new RevocationLists(agent, () => grants.changes.notify()));
  const parts = { agent, grants, jwts: new KeptJwts(), revocationLists, closing: closing.signal };
  const addresses: string[] = [];
  for (const endpoint of options.endpoints) {
    const listener = await openLocalListener(
      endpoint,
      (router) => {
        router.service(SpiffeWorkloadAPI, spiffeCalls(parts));
        router.service(SecretDiscoveryService, secretCalls({ ...parts, ...agent }));
      },
      (socket) => new AttestedConnection(socket, identify, sources),
    );
    opened.use(listener);
    addresses.push(listener.address);
  }
  opened.defer(() => closing.abort());
  const running = opened.move();
  return {
    addresses,
    get instances() {
      return grants.instances;
    },
    [Symbol.asyncDispose]: () => running.disposeAsync(),
  };
}
