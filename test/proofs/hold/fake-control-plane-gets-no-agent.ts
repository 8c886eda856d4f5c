import { readFile } from "node:fs/promises";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { exitCode } from "../../../src/cli/exit-codes.ts";
import { meshDirectory } from "../../../src/cli/mesh-directory.ts";
import { formatJoinToken } from "../../../src/protocol/index.ts";
import {
  copiedLog,
  type FakeControlPlane,
  madeUpLog,
  openFakeControlPlane,
  type ShownLog,
} from "../../apparatus/fake-control-plane.ts";
import type { RunningCommand } from "../../apparatus/running-command.ts";
import { openMesh, type RunningMesh, startTroth, statusOf } from "../../apparatus/running-mesh.ts";
import {
  inviteNode,
  openSecondMachine,
  readToken,
  type SecondMachine,
} from "../../apparatus/second-machine.ts";
import { temporaryFolder } from "../../contracts/temporary-folder.ts";
import { type Claim, failed, ok } from "../claim.ts";

const tellsMillisMax = 15_000;
/** How long an impostor may try after it was refused once. */
const temptationMillis = 1_500;
const backMillisMax = 30_000;

interface Impostor {
  readonly what: string;
  readonly shown: ShownLog;
  /** In what a newcomer says, and in what an agent that has joined writes down. */
  readonly reasons: readonly [newcomer: string, member: string];
}

/** An impostor elsewhere, and at the very address of a control plane that has stopped; newcomers, and an agent that has joined. */
export const claim: Claim = {
  text: "a control plane that has a log of its own, or the real log without its key, gets no agent: nothing secret is sent to it, it is refused with the reason, and the real one is joined afterwards",
  run: async () => {
    await using folder = await temporaryFolder();
    await using member = await openSecondMachine();
    await using newcomer = await openSecondMachine();
    const problems: string[] = [];
    let impostors: readonly Impostor[];
    let token: string;
    let address: string;
    {
      await using mesh = await openMesh({ kind: "up", path: folder.path });
      address = mesh.domain.address;
      const joined = await member.join(await inviteNode(mesh.path, "member"));
      if (joined.code !== 0) return failed(`the member did not join: ${joined.stderr}`);
      await using agent = startTroth(member.path, ["node-agent"]);
      await untilConnected(mesh, "member");
      token = await inviteNode(mesh.path, "newcomer");
      impostors = await impostorsOf(mesh);
      for (const impostor of impostors) {
        await using fake = await openFakeControlPlane(impostor.shown);
        const elsewhere = formatJoinToken({ ...readToken(token), address: fake.address });
        problems.push(...(await problemsOfJoining(newcomer, elsewhere, { fake, impostor })));
      }
      await agent[Symbol.asyncDispose]();
    }
    // What was added to the log meanwhile is known to the agent, and to an impostor who reads along.
    impostors = await impostorsOf({ directory: meshDirectory(folder.path) });
    for (const impostor of impostors) {
      await using fake = await openFakeControlPlane(impostor.shown, address);
      problems.push(...(await problemsOfJoining(newcomer, token, { fake, impostor })));
      problems.push(...(await problemsOfFollowing(member, { fake, impostor })));
    }
    if (problems.length > 0) return failed(problems.slice(0, 3).join("; "));

    await using mesh = await openMesh({ kind: "up", path: folder.path, address });
    await using _agent = startTroth(member.path, ["node-agent"]);
    await untilConnected(mesh, "member");
    const joined = await newcomer.join(token);
    if (joined.code !== 0 || !(await newcomer.hasState())) return failed(`not joined: ${joined.stderr}`);
    return ok(
      `${impostors.length} impostors, each elsewhere and at the real address, asked by newcomers ${impostors.length * 2} times and followed by a member: ` +
        `refused with ${impostors.flatMap(({ reasons }) => reasons).join(", ")}; they heard nothing but which part of the log was asked for`,
    );
  },
};

async function impostorsOf(mesh: Pick<RunningMesh, "directory">): Promise<readonly Impostor[]> {
  return [
    {
      what: "one with a log of its own",
      shown: madeUpLog(),
      reasons: ["serves another log", "other-origin"],
    },
    {
      what: "one that replays the real log",
      shown: await copiedLog(mesh),
      reasons: ["does not prove to be", "does not hold a key that the log names"],
    },
  ];
}

interface Attempt {
  readonly fake: FakeControlPlane;
  readonly impostor: Impostor;
}

/** A newcomer reads the log, says why it does not join, and leaves no trace of having joined. */
async function problemsOfJoining(
  newcomer: SecondMachine,
  token: string,
  { fake, impostor: { what, reasons } }: Attempt,
): Promise<string[]> {
  const before = fake.heard.length;
  const { code, stderr } = await newcomer.join(token);
  const heard = fake.heard.slice(before);
  const problems: string[] = [];
  if (code !== exitCode.no) problems.push(`joining ${what} ended with ${code}`);
  if (!stderr.includes(reasons[0])) problems.push(`joining ${what} said: ${stderr.trim()}`);
  if (await newcomer.hasState()) problems.push(`joining ${what} left state`);
  if (heard.length !== 1 || !heard.every(isAboutTheLog))
    problems.push(`${what} heard from a newcomer: ${heard.join(", ")}`);
  return problems;
}

/** An agent that has joined asks for the log's news, writes down why it does not follow, and keeps what it has. */
async function problemsOfFollowing(
  member: SecondMachine,
  { fake, impostor: { what, reasons } }: Attempt,
): Promise<string[]> {
  const kept = await memoryOf(member);
  const before = fake.heard.length;
  {
    await using agent = startTroth(member.path, ["node-agent"]);
    if (!(await hasSaid(agent, reasons[1]))) return [`an agent did not refuse ${what}: ${agent.tail()}`];
    await sleep(temptationMillis);
  }
  const heard = fake.heard.slice(before);
  const problems: string[] = [];
  if (heard.length === 0 || !heard.every(isAboutTheLog))
    problems.push(`${what} heard from an agent: ${heard.join(", ")}`);
  if ((await memoryOf(member)) !== kept) problems.push(`an agent took something from ${what}`);
  return problems;
}

/** Reading says how far one is, by size and by the checkpoint that the log itself has published, and nothing else. */
function isAboutTheLog(heard: string): boolean {
  const checkpoint = /,"checkpoint":"([A-Za-z0-9+/=]*)"/.exec(heard)?.[1] ?? "";
  const note = Buffer.from(checkpoint, "base64").toString();
  if (note !== "" && !/^[a-z.-]+\/trust-log\n[0-9]+\n[A-Za-z0-9+/=]{44}\n\n— \S+ \S+\n$/.test(note))
    return false;
  return /^(Admission\.ReadLog|Mesh\.Follow) \{("[$A-Za-z]+":("troth\.v1\.[A-Za-z]+"|"[0-9]*"|[0-9]+|true|false),?)+\}$/.test(
    heard.replace(`,"checkpoint":"${checkpoint}"`, ""),
  );
}

async function hasSaid(agent: RunningCommand, text: string): Promise<boolean> {
  const deadline = performance.now() + tellsMillisMax;
  while (!agent.stdout.includes(text)) {
    if (performance.now() > deadline) return false;
    await sleep(50);
  }
  return true;
}

/** What an agent remembers of its mesh and of how far the log had come. */
async function memoryOf({ directory }: SecondMachine): Promise<string> {
  const membership = await readFile(join(directory.agent, "membership.json"), "utf8");
  return membership + (await readFile(join(directory.agent, "log", "checkpoint"), "utf8"));
}

async function untilConnected(mesh: RunningMesh, node: string): Promise<void> {
  const deadline = performance.now() + backMillisMax;
  for (;;) {
    const { nodes } = await statusOf(mesh.path);
    if (nodes.some((one) => one.node === node && one.isConnected)) return;
    if (performance.now() > deadline) throw new Error(`${node} is not connected`);
    await sleep(100);
  }
}
