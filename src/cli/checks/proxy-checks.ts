import { join } from "node:path";
import type { FollowerStatus } from "../../protocol/index.ts";
import { writerOf } from "../../storage/index.ts";
import { readMembership } from "../membership.ts";
import { durationOf } from "../output.ts";
import { shellWord } from "../shell-word.ts";
import type { CheckReport, Finding } from "./check-report.ts";
import type { RunningMesh } from "./mesh-checks.ts";

const category = "proxies";
const stalenessSecondsMax = 30;
const certificateSecondsLeftMin = 120;
const answerMillisMax = 2_000;
const answerCharactersMax = 2_000;

/** Every proxy, or those that `only` names by service or instance. */
export async function checkProxies(report: CheckReport, mesh: RunningMesh, only?: string): Promise<void> {
  const proxies = mesh.status.followers.filter((proxy) => only === undefined || isMeant(proxy, only));
  if (only !== undefined)
    await report.run({ category, anchor: "proxy-found", description: `${only} is there` }, () =>
      proxies.length > 0
        ? undefined
        : {
            error: `no running proxy is of a service or an instance called ${only}`,
            remedy: "see the names of those that run; start the service with troth run",
            command: `troth status --dir ${shellWord(mesh.directory.path)}`,
          },
    );
  const here = (await readMembership(mesh.directory))?.node;
  for (const proxy of proxies) {
    const name = `${proxy.service} ${proxy.instance.slice(0, 8)}`;
    // What the agent keeps for a program without a sidecar has no process of its own to ask.
    const isProxy = proxy.role !== "workload";
    const isHere = isProxy && mesh.client.state.instances.get(proxy.instance)?.node === here;
    if (
      isHere &&
      !(await report.run({ category, anchor: "proxy-ready", description: `${name} is ready` }, () =>
        readyFinding(mesh, proxy),
      ))
    )
      continue;
    await report.run(
      { category, anchor: "proxy-follows", description: `${name} follows the trust log` },
      () => followsFinding(proxy),
    );
    await report.run(
      { category, anchor: "proxy-certificate", description: `${name} has a certificate with time left` },
      () => certificateFinding(mesh, proxy),
    );
  }
  await checkServed(report, mesh, only);
}

/** A service that others may call wants an application that answers. */
async function checkServed(report: CheckReport, mesh: RunningMesh, only: string | undefined): Promise<void> {
  const { client, status, directory } = mesh;
  const called = new Set(
    [...client.state.rules.entries()].filter(([, { effect }]) => effect === "allow").map(([, { to }]) => to),
  );
  for (const service of called) {
    const proxies = status.followers.filter((proxy) => proxy.service === service);
    if (
      only !== undefined &&
      service !== only &&
      !proxies.some(({ instance }) => isMeant({ service, instance }, only))
    )
      continue;
    await report.run({ category, anchor: "service-served", description: `${service} is served` }, () => {
      if (proxies.some(({ address }) => address !== "")) return undefined;
      return {
        error:
          proxies.length === 0
            ? "callers are allowed, and no instance runs"
            : "callers are allowed, and the application behind its proxy accepts no connection",
        remedy:
          proxies.length === 0
            ? "start it behind a sidecar"
            : "let the application listen on the port that it finds in PORT, on 127.0.0.1; or start it anew",
        command: `troth run --dir ${shellWord(directory.path)} --service ${service} -- COMMAND`,
        isWarning: true,
      };
    });
  }
}

function isMeant({ service, instance }: Pick<FollowerStatus, "service" | "instance">, only: string): boolean {
  return service === only || service === `/${only}` || (only.length >= 4 && instance.startsWith(only));
}

/** What the proxy itself says on its admin port; only on its own machine. */
async function readyFinding({ directory }: RunningMesh, proxy: FollowerStatus): Promise<Finding | undefined> {
  const folder = join(directory.proxies, proxy.service.slice(1).replaceAll("/", "."), proxy.instance);
  try {
    const answer = await fetch(`http://${proxy.adminAddress}/readyz`, {
      signal: AbortSignal.timeout(answerMillisMax),
    });
    if (answer.ok) return undefined;
    const missing = (await answer.text()).slice(0, answerCharactersMax).trim().replaceAll("\n", "; ");
    return {
      error: missing,
      remedy: `mend what it names; it goes on by itself. Its log: ${join(directory.logs, `sidecar${proxy.service.replaceAll("/", ".")}.log`)}`,
    };
  } catch {
    const pid = await writerOf(folder);
    const error = `it does not answer at ${proxy.adminAddress}`;
    return pid === undefined
      ? {
          error,
          remedy: "it has ended; if troth run runs, it starts it again within 5 s: check again",
          isWarning: true,
        }
      : {
          error,
          remedy: `process ${pid} is there and does not answer; end it, and troth run starts it again`,
          command: `kill -9 ${pid}`,
        };
  }
}

function followsFinding({ stalenessSeconds }: FollowerStatus): Finding | undefined {
  if (stalenessSeconds < stalenessSecondsMax) return undefined;
  return {
    error: `no new epoch for ${durationOf(stalenessSeconds)}`,
    remedy:
      "see above whether the control plane issues epochs and its node's agent is connected: a proxy follows through both",
  };
}

function certificateFinding(
  { nowSeconds, directory }: RunningMesh,
  proxy: FollowerStatus,
): Finding | undefined {
  const leftSeconds = Number(proxy.certificateNotAfterSeconds) - nowSeconds;
  if (leftSeconds > certificateSecondsLeftMin) return undefined;
  return {
    error:
      leftSeconds > 0 ? `it ends in ${durationOf(leftSeconds)}` : `it ended ${durationOf(-leftSeconds)} ago`,
    remedy: `it is renewed as soon as the control plane issues again; "certificate not renewed" in ${join(directory.logs, `sidecar${proxy.service.replaceAll("/", ".")}.log`)} says why it does not`,
    isWarning: leftSeconds > 0,
  };
}
