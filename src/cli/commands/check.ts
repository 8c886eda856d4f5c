import { messageOf } from "../../base/mesh-error.ts";
import { openFileKeyStore } from "../../storage/index.ts";
import { CliError, exitCode } from "../exit-codes.ts";
import { type MeshDirectory, meshDirectory, requireKnownDomain } from "../mesh-directory.ts";
import { OperatorClient } from "../operator-client.ts";
import { durationOf, type OutputFormat, printAnswer } from "../output.ts";
import { systemClock } from "../system.ts";
import { verifyLogFiles } from "./verify-log.ts";

const epochSecondsMax = 30;
const certificateSecondsLeftMin = 120;
const alarmSecondsMax = 3_600;

type CheckResult = "success" | "warning" | "error";

/** One line of `troth check`: what should hold, whether it does, and what to do if not. */
interface CheckLine {
  readonly category: string;
  readonly description: string;
  readonly result: CheckResult;
  readonly error?: string;
  readonly remedy?: string;
}

/** What a check found: nothing wrong, or what and how to mend it. */
type Finding = undefined | { readonly error: string; readonly remedy: string; readonly isWarning?: boolean };

/** `troth check`: is this mesh healthy, and if not, what to do. Exit code 1 when something is wrong. */
export async function check(options: { dir: string; output: OutputFormat }): Promise<void> {
  const lines: CheckLine[] = [];
  const run = async (
    category: string,
    description: string,
    look: () => Promise<Finding> | Finding,
  ): Promise<boolean> => {
    const finding = await Promise.resolve()
      .then(look)
      .catch(
        (error: unknown): Finding => ({
          error: messageOf(error),
          remedy: "mend what the message names and run troth check again",
        }),
      );
    const result = finding === undefined ? "success" : finding.isWarning === true ? "warning" : "error";
    lines.push({
      category,
      description,
      result,
      ...(finding === undefined ? {} : { error: finding.error, remedy: finding.remedy }),
    });
    return result !== "error";
  };
  const directory = meshDirectory(options.dir);
  if (await checkDirectory(directory, run)) await checkRunning(directory, run);

  const isSuccess = lines.every(({ result }) => result !== "error");
  printAnswer(options.output, "CheckReport", { success: isSuccess, categories: byCategory(lines) }, () =>
    textOf(lines, isSuccess),
  );
  if (!isSuccess) throw new CliError(exitCode.no, "");
}

type Run = (
  category: string,
  description: string,
  look: () => Promise<Finding> | Finding,
) => Promise<boolean>;

async function checkDirectory(directory: MeshDirectory, run: Run): Promise<boolean> {
  const category = "directory";
  const isMesh = await run(category, "holds a mesh", async () => {
    await requireKnownDomain(directory);
    return undefined;
  });
  if (!isMesh) return false;
  await run(category, "operator key is readable by its owner alone", async () => {
    await (await openFileKeyStore(directory.operatorKeys)).load("operator");
    return undefined;
  });
  return run(category, "the trust log on disk verifies", async () => {
    const { genesis, logKey } = await requireKnownDomain(directory);
    const verdict = await verifyLogFiles({
      log: directory.controlPlaneLog,
      tiles: directory.tiles,
      genesis,
      logKey,
    });
    return verdict.verified
      ? undefined
      : {
          error: verdict.problems[0] ?? "not verified",
          remedy:
            "stop the mesh, keep a copy of the directory, restore the last good backup; see troth log verify",
        };
  });
}

async function checkRunning(directory: MeshDirectory, run: Run): Promise<void> {
  const parts: { client?: OperatorClient } = {};
  const isReachable = await run("control plane", "answers, and is the one this directory knows", async () => {
    parts.client = await OperatorClient.open(directory);
    return undefined;
  });
  const { client } = parts;
  if (!isReachable || client === undefined) return;
  using _closing = client;
  const status = await client.admin.getStatus({});
  await run("control plane", "issues epochs", () => epochFinding(client));
  await run("control plane", "has raised no alarm in the last hour", () => {
    const recent = status.alarms.filter(({ secondsAgo }) => secondsAgo < alarmSecondsMax).at(-1);
    if (recent === undefined) return undefined;
    return {
      error: `${recent.reason}: ${recent.detail}`,
      remedy: "see troth status for all of them; an alarm ages out after an hour",
      isWarning: true,
    };
  });
  for (const node of status.nodes)
    await run("nodes", `the agent of ${node.node} is connected`, () =>
      node.isConnected
        ? undefined
        : {
            error: `no report for ${durationOf(node.lastReportSecondsAgo)}`,
            remedy: `on ${node.node}, see that "troth node-agent" (or troth up) runs and reaches ${client.domain.address}`,
          },
    );
  for (const proxy of status.followers) {
    const name = `${proxy.service} ${proxy.instance.slice(0, 8)}`;
    await run("proxies", `${name} follows the trust log`, () =>
      proxy.stalenessSeconds < epochSecondsMax
        ? undefined
        : {
            error: `no new epoch for ${durationOf(proxy.stalenessSeconds)}`,
            remedy: "see whether its node's agent runs; a proxy follows through it",
          },
    );
    await run("proxies", `${name} has a certificate with time left`, () => {
      const left = Number(proxy.certificateNotAfterSeconds) - systemClock.nowSeconds();
      if (left > certificateSecondsLeftMin) return undefined;
      return {
        error: `it ends in ${durationOf(left)}`,
        remedy: "rotation fails while the control plane cannot be reached; see the sidecar's log",
        isWarning: left > 0,
      };
    });
  }
}

function epochFinding(client: OperatorClient): Finding {
  const age = systemClock.nowSeconds() - (client.state.genesis?.epochTimeSeconds ?? 0);
  if (age < -epochSecondsMax)
    return {
      error: `the last epoch is ${durationOf(-age)} in the future`,
      remedy: "this machine's clock is behind, or the control plane's ahead: set them right",
    };
  if (age > epochSecondsMax)
    return {
      error: `the last epoch is ${durationOf(age)} old`,
      remedy: "see control-plane.log: a full disk or a clock that jumped keeps epochs from being issued",
    };
  return undefined;
}

function byCategory(lines: readonly CheckLine[]): object[] {
  return [...Map.groupBy(lines, ({ category }) => category)].map(([categoryName, checks]) => ({
    categoryName,
    checks: checks.map(({ description, result, error, remedy }) => ({ description, result, error, remedy })),
  }));
}

const marks: { readonly [key in CheckResult]: string } = { success: "√", warning: "‼", error: "×" };

function textOf(lines: readonly CheckLine[], isSuccess: boolean): string {
  const sections = [...Map.groupBy(lines, ({ category }) => category)].map(([category, checks]) => {
    const rows = checks.map(({ description, result, error, remedy }) =>
      error === undefined
        ? `${marks[result]} ${description}\n`
        : `${marks[result]} ${description}\n    ${error}\n    remedy: ${remedy}\n`,
    );
    return `${category}\n${"-".repeat(category.length)}\n${rows.join("")}`;
  });
  return `${sections.join("\n")}\nStatus check results are ${isSuccess ? "√" : "×"}\n`;
}
