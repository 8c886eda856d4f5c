import { codeOf, messageOf } from "../../base/mesh-error.ts";
import { joinMesh } from "../../node-agent/index.ts";
import { formatJoinToken, parseJoinToken } from "../../protocol/index.ts";
import { CliError, exitCode } from "../exit-codes.ts";
import { readMembership, writeMembership } from "../membership.ts";
import { makeMeshDirectory, meshDirectory } from "../mesh-directory.ts";
import { OperatorClient } from "../operator-client.ts";
import { type OutputFormat, printAnswer } from "../output.ts";
import { randomBytes, systemClock } from "../system.ts";
import { loadNodeKey } from "./run-processes.ts";
import { invite } from "./up.ts";

/** `troth node invite NODE`: a join token for one machine, good once and for ten minutes. */
export async function inviteNode(
  node: string,
  options: { dir: string; output: OutputFormat },
): Promise<void> {
  using client = await OperatorClient.open(meshDirectory(options.dir));
  const token = formatJoinToken(await invite(client, node));
  printAnswer(options.output, "JoinToken", { node, token }, () => `${token}\n`);
  process.stderr.write(`troth: on ${node}, within ten minutes: troth join TOKEN\n`);
}

/** `troth join TOKEN`: makes this machine's agent a member of the mesh that the token names. */
export async function join(text: string, options: { dir: string }): Promise<void> {
  const token = parseJoinToken(text.trim());
  if (!token.ok) throw new CliError(exitCode.unreadable, `this is no join token: ${token.detail}`);
  const directory = meshDirectory(options.dir);
  makeMeshDirectory(directory);
  const present = await readMembership(directory);
  if (present !== undefined)
    throw new CliError(exitCode.failed, `${directory.agent} has joined already, as ${present.node}`);
  const nodeKey = await loadNodeKey(directory);
  const joining = joinMesh(token.value, { nodeKey, clock: systemClock, randomBytes });
  await writeMembership(directory, await joining.catch(explainRefusal));
  process.stdout.write(
    `joined as ${token.value.node}; start the agent with: troth node-agent --dir ${directory.path}\n`,
  );
}

/** Which of the exit codes a failure to join is. */
function explainRefusal(error: unknown): never {
  const code = codeOf(error);
  if (code === "ERR_NODE_AGENT_JOIN") throw new CliError(exitCode.no, messageOf(error));
  if (code === "ERR_TRANSPORT_CONNECT") throw new CliError(exitCode.unreachable, messageOf(error));
  throw error;
}
