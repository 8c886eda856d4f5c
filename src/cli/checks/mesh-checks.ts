import { messageOf } from "../../base/mesh-error.ts";
import type { GetStatusResponse } from "../../protocol/index.ts";
import { writerOf } from "../../storage/index.ts";
import { authoritiesUnder, certificateAuthoritiesOf } from "../../trust-log/index.ts";
import { CliError, exitCode } from "../exit-codes.ts";
import type { MeshDirectory } from "../mesh-directory.ts";
import { OperatorClient } from "../operator-client.ts";
import { durationOf } from "../output.ts";
import { shellWord } from "../shell-word.ts";
import { shownAlarms } from "../shown-alarms.ts";
import type { CheckReport, Finding } from "./check-report.ts";

/** An epoch comes every ten seconds. */
const epochSecondsMax = 30;
/** Followers and control plane may differ by this much; certificates allow for no more. */
const clockSecondsMax = 300;
const alarmSecondsMax = 3_600;
const authoritySecondsLeftMin = 14 * 86_400;

/** What the control plane says, and where to compare it. */
export interface RunningMesh {
  readonly directory: MeshDirectory;
  readonly client: OperatorClient;
  readonly status: GetStatusResponse;
  readonly nowSeconds: number;
  /** By how much this machine's clock is ahead of the control plane's, where an agent here has told. */
  readonly aheadSeconds: number | undefined;
}

/** Reaches the control plane; undefined, with the reason in the report, where there is none or not the right one. */
export async function reachControlPlane(
  report: CheckReport,
  directory: MeshDirectory,
): Promise<OperatorClient | undefined> {
  const reached: { client?: OperatorClient } = {};
  await report.run(
    {
      category: "control plane",
      anchor: "control-plane-answers",
      description: "answers, and is the one this directory knows",
    },
    async () => {
      try {
        reached.client = await OperatorClient.open(directory);
        return undefined;
      } catch (error) {
        return unreachable(directory, error);
      }
    },
  );
  return reached.client;
}

/** What the control plane does and knows. */
export async function checkControlPlane(report: CheckReport, mesh: RunningMesh): Promise<void> {
  const category = "control plane";
  await report.run({ category, anchor: "epochs-fresh", description: "issues epochs" }, () =>
    epochsFinding(mesh),
  );
  await report.run(
    {
      category,
      anchor: "clock-agrees",
      description: "this machine's clock agrees with the trust log's epochs",
    },
    () => clockFinding(mesh),
  );
  await report.run(
    { category, anchor: "authority-life", description: "certificate authorities have time left" },
    () => authorityFinding(mesh),
  );
  await report.run(
    { category, anchor: "no-alarms", description: "has raised no alarm in the last hour" },
    () => alarmFinding(mesh),
  );
}

/** Every machine that has joined. */
export async function checkNodes(report: CheckReport, mesh: RunningMesh): Promise<void> {
  const category = "nodes";
  for (const node of mesh.status.nodes) {
    const isConnected = await report.run(
      { category, anchor: "agent-connected", description: `the agent of ${node.node} is connected` },
      () => (node.isConnected ? undefined : agentFinding(mesh, node)),
    );
    if (!isConnected) continue;
    await report.run(
      {
        category,
        anchor: "node-clocks-agree",
        description: `the clock of ${node.node} agrees with the control plane's`,
      },
      () => nodeClockFinding(node),
    );
  }
}

async function unreachable(directory: MeshDirectory, error: unknown): Promise<Finding> {
  const finding = { error: messageOf(error) };
  if (!(error instanceof CliError) || error.exitCode !== exitCode.unreachable)
    return {
      ...finding,
      remedy: `something else answers at the address in ${directory.path}/domain.json, or this directory is of another mesh: stop it, or name the right directory with --dir`,
    };
  const pid = await writerOf(directory.controlPlaneLog);
  return pid === undefined
    ? {
        ...finding,
        remedy: "start it; it runs until it is stopped",
        command: `troth up --dir ${shellWord(directory.path)}`,
      }
    : {
        ...finding,
        remedy: `process ${pid} has the trust log and does not answer; end it, and "troth up" starts it again`,
        command: `kill -9 ${pid}`,
      };
}

function epochsFinding({ directory, client, nowSeconds, aheadSeconds }: RunningMesh): Finding | undefined {
  const ageSeconds = nowSeconds - (aheadSeconds ?? 0) - (client.state.genesis?.epochTimeSeconds ?? 0);
  if (Math.abs(ageSeconds) < epochSecondsMax) return undefined;
  return {
    error:
      ageSeconds > 0
        ? `the last epoch was issued ${durationOf(ageSeconds)} ago`
        : `the last epoch is ${durationOf(-ageSeconds)} ahead of the control plane's clock`,
    remedy: `see the last lines of ${directory.logs}/control-plane.log: a full disk or a wrong clock keeps epochs from being issued; they go on by themselves when it is mended`,
  };
}

function clockFinding({ client, nowSeconds, aheadSeconds }: RunningMesh): Finding | undefined {
  const epochSeconds = client.state.genesis?.epochTimeSeconds ?? 0;
  const ahead = aheadSeconds ?? nowSeconds - epochSeconds;
  if (Math.abs(ahead) <= clockSecondsMax) return undefined;
  return {
    error: `it is ${durationOf(Math.abs(ahead))} ${ahead > 0 ? "ahead of" : "behind"} the control plane's; the last epoch says ${new Date(epochSeconds * 1000).toISOString()}`,
    remedy: "set the clock right on this machine, or on the control plane's if it is that one that is wrong",
    command: "timedatectl set-ntp true",
  };
}

function authorityFinding({ client, nowSeconds }: RunningMesh): Finding | undefined {
  const ending = new Set(
    (["tainted", "revoked"] as const)
      .flatMap((status) => authoritiesUnder(client.state, status))
      .map(({ id }) => id),
  );
  const lasting = certificateAuthoritiesOf(client.state).filter(({ id }) => !ending.has(id));
  for (const kind of ["root", "intermediate"] as const) {
    const ends = lasting.filter((one) => one.kind === kind).map((one) => one.certificate.notAfterSeconds);
    const leftSeconds = Math.max(0, ...ends) - nowSeconds;
    // An intermediate is replaced in the last third of its life, however short that is.
    const secondsMin = kind === "root" ? authoritySecondsLeftMin : 0;
    if (leftSeconds >= secondsMin) continue;
    return {
      error: `the last ${kind} ${leftSeconds > 0 ? `ends in ${durationOf(leftSeconds)}` : "has ended"}`,
      remedy: "see docs/guides/authorities.md: the mesh needs another one before",
      command: "troth ca show",
      isWarning: leftSeconds > 0,
    };
  }
  return undefined;
}

function alarmFinding({ status }: RunningMesh): Finding | undefined {
  const recent = status.alarms.filter(({ secondsAgo }) => secondsAgo < alarmSecondsMax);
  const nodes = status.nodes.map(({ node }) => node);
  const errors = shownAlarms(recent, nodes).map(({ reason, detail }) => `${reason}: ${detail}`);
  if (errors.length === 0) return undefined;
  return {
    error: errors.join("; "),
    remedy: `see "troth status" for all of them and docs/guides/operations.md for what they mean; an alarm ages out after ${durationOf(alarmSecondsMax)}`,
    isWarning: true,
  };
}

async function agentFinding(
  { directory, client }: RunningMesh,
  node: GetStatusResponse["nodes"][number],
): Promise<Finding> {
  const error = `no report for ${durationOf(node.lastReportSecondsAgo)}`;
  const pid = await writerOf(directory.agent);
  if (pid === undefined)
    return {
      error,
      remedy: `on ${node.node}, start the agent (troth up runs one on its own machine), and see that it reaches ${client.domain.address}`,
      command: `troth node-agent --dir ${shellWord(directory.path)}`,
    };
  return {
    error,
    remedy: `if ${node.node} is this machine: process ${pid} is its agent and does not report; end it, and "troth up" starts it again`,
    command: `kill -9 ${pid}`,
  };
}

function nodeClockFinding({
  node,
  clockAheadSeconds,
}: GetStatusResponse["nodes"][number]): Finding | undefined {
  if (Math.abs(clockAheadSeconds) <= clockSecondsMax) return undefined;
  const where = clockAheadSeconds > 0 ? "ahead of" : "behind";
  return {
    error: `it is ${durationOf(Math.abs(clockAheadSeconds))} ${where} the control plane's`,
    remedy: `set the clock right on ${node}, or on the control plane's machine if it is that one that is wrong`,
    command: "timedatectl set-ntp true",
  };
}
