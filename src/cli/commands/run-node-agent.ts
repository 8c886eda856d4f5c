import { hostAndPort } from "../../base/host-and-port.ts";
import { openNodeAgent } from "../../node-agent/index.ts";
import { CliError, exitCode } from "../exit-codes.ts";
import { type KubernetesFlags, requireContainers, requireKubernetes } from "../kubernetes-options.ts";
import { requireLocalEndpoint } from "../local-endpoint.ts";
import { readMembership, writeMembership } from "../membership.ts";
import { meshDirectory, readKnownDomain, writeKnownDomain } from "../mesh-directory.ts";
import { requireNodeKey } from "../node-key.ts";
import { announceTarget } from "../scrape-targets.ts";
import { openLog, random, randomBytes, systemClock } from "../system.ts";
import { runProcess } from "./run-process.ts";

/** The node agent of a mesh directory. */
export async function runNodeAgent(
  options: KubernetesFlags & {
    dir: string;
    controlPlane?: string;
    adminListen?: string;
    /** More places where workloads find the agent, as `SPIFFE_ENDPOINT_SOCKET` has them. */
    workloadListen?: readonly string[];
    /** Of the container runtime. */
    dockerSocket?: string;
    logLevel: string;
  },
): Promise<void> {
  const directory = meshDirectory(options.dir);
  const membership = await readMembership(directory);
  if (membership === undefined)
    throw new CliError(
      exitCode.notFound,
      `no node has joined in ${directory.agent}; join with: troth join TOKEN`,
    );
  const own = { kind: "unix" as const, path: directory.workloadSocket };
  const endpoints = [own, ...(options.workloadListen ?? []).map(requireLocalEndpoint)];
  const kubernetes = await requireKubernetes(options);
  const containers = requireContainers(options.dockerSocket);
  await runProcess(async (stack) => {
    const nodeKey = await requireNodeKey(directory);
    const agent = stack.use(
      await openNodeAgent({
        membership: { ...membership, address: options.controlPlane ?? membership.address },
        nodeKey,
        folder: directory.agent,
        socketPath: directory.agentSocket,
        ...(options.adminListen === undefined ? {} : { health: hostAndPort(options.adminListen) }),
        workloads: {
          endpoints,
          ...(kubernetes === undefined ? {} : { kubernetes }),
          ...(containers === undefined ? {} : { containers }),
        },
        clock: systemClock,
        randomBytes,
        random,
        log: openLog("node-agent", options.logLevel),
        recovered: async (newLogKey) => {
          await writeMembership(directory, { ...membership, logKey: newLogKey });
          const known = await readKnownDomain(directory);
          if (known?.genesis === membership.genesis)
            await writeKnownDomain(directory, { ...known, logKey: newLogKey });
        },
      }),
    );
    const health = agent.healthAddress;
    const { node } = membership;
    stack.use(await announceTarget(directory, { process: "node-agent", address: health, node }));
    return { socket: directory.agentSocket, health, workloads: agent.workloadAddresses.join(" ") };
  });
}
