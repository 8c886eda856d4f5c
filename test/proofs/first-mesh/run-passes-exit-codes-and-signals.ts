import { constants } from "node:os";
import { openMesh, type RunningMesh, startTroth, troth } from "../../apparatus/running-mesh.ts";
import { type Claim, failed, ok } from "../claim.ts";

const readyMillisMax = 30_000;
const endMillisMax = 15_000;

/** What a supervisor above `troth run` relies on. */
export const claim: Claim = {
  text: "troth run ends with its application's exit code, also after a signal, and passes SIGTERM on to it",
  run: async () => {
    await using mesh = await openMesh({ kind: "up" });
    const seen = [
      ["exit code 42", await codeOf(mesh, "process.exitCode = 42"), 42],
      [
        "killed itself",
        await codeOf(mesh, "process.kill(process.pid, 'SIGKILL')"),
        128 + constants.signals.SIGKILL,
      ],
      ["SIGTERM to troth run", await codeAfter(mesh, "SIGTERM"), 7],
      ["SIGINT to troth run", await codeAfter(mesh, "SIGINT"), 7],
      ["no such program", (await troth(mesh.path, ...run, "/no/such/program")).code, 4],
    ] as const;
    const wrong = seen.filter(([, got, wanted]) => got !== wanted);
    const words = seen.map(([what, got]) => `${what}: ${got}`).join(", ");
    return wrong.length === 0
      ? ok(words)
      : failed(`${words}; wanted ${wrong.map(([what, , wanted]) => `${what}: ${wanted}`).join(", ")}`);
  },
};

const run = ["run", "--service", "/proof/runs", "--"];

async function codeOf(mesh: RunningMesh, script: string): Promise<number> {
  return (await troth(mesh.path, ...run, process.execPath, "-e", script)).code;
}

/** The application answers SIGTERM with exit code 7; the exit code of `troth run` after a signal to itself. */
async function codeAfter(mesh: RunningMesh, name: NodeJS.Signals): Promise<number> {
  const script =
    "setInterval(() => {}, 1000); process.on('SIGTERM', () => process.exit(7)); console.log('application runs')";
  await using command = startTroth(mesh.path, [...run, process.execPath, "-e", script]);
  await command.untilLine(/application runs/, readyMillisMax);
  command.kill(name);
  return (await command.ended(endMillisMax)).code;
}
