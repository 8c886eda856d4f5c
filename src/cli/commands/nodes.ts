import { codeOf, messageOf } from "../../base/mesh-error.ts";
import { joinMesh } from "../../node-agent/index.ts";
import { formatJoinToken, parseJoinToken } from "../../protocol/index.ts";
import { CliError, exitCode } from "../exit-codes.ts";
import { readMembership, writeMembership } from "../membership.ts";
import { makeMeshDirectory, meshDirectory } from "../mesh-directory.ts";
import { loadNodeKey } from "../node-key.ts";
import { OperatorClient } from "../operator-client.ts";
import { durationOf, type OutputFormat, printAnswer, tableOf } from "../output.ts";
import { shortId } from "../proposed-entry.ts";
import { randomBytes, systemClock } from "../system.ts";
import { invite } from "./up.ts";

/** More than any token has. */
const tokenCharactersMax = 8_192;

/** `troth node invite NODE`: a join token for one machine, good once and for ten minutes. */
export async function inviteNode(
  node: string,
  options: { dir: string; output: OutputFormat },
): Promise<void> {
  using client = await OperatorClient.open(meshDirectory(options.dir));
  const invited = await invite(client, node);
  const { proposals } = invited;
  const token = formatJoinToken(invited.token);
  printAnswer(options.output, "JoinToken", { node, token, proposals }, () => `${token}\n`);
  const when = proposals.length === 0 ? "within ten minutes" : "once it is approved, within a day";
  process.stderr.write(`troth: on ${node}, ${when}: troth join -, and the token on its standard input\n`);
}

/** `troth join TOKEN`: makes this machine's agent a member of the mesh that the token names. */
export async function join(text: string, options: { dir: string }): Promise<void> {
  const token = parseJoinToken((text === "-" ? await tokenOfInput() : text).trim());
  if (!token.ok) throw new CliError(exitCode.unreadable, `this is no join token: ${token.detail}`);
  const directory = meshDirectory(options.dir);
  await makeMeshDirectory(directory);
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

/** Every user of a machine can read the arguments of its processes, so a token may come on standard input. */
async function tokenOfInput(): Promise<string> {
  let token = "";
  for await (const chunk of process.stdin) {
    token += String(chunk);
    if (token.length > tokenCharactersMax) break;
  }
  return token;
}

/** `troth node list`: the machines that have joined and those that are invited. */
export async function listNodes(options: { dir: string; output: OutputFormat }): Promise<void> {
  using client = await OperatorClient.open(meshDirectory(options.dir));
  const { nodes } = await client.admin.getStatus({});
  const { state } = client;
  const joined = nodes.map(({ node, size, isConnected, lastReportSecondsAgo }) => ({
    node,
    status: isConnected ? "connected" : "silent",
    size: Number(size),
    lastReportSecondsAgo,
    instances: [...state.instances.entries()].filter(([, instance]) => instance.node === node).length,
  }));
  const invited = [...state.invites.entries()].map(([, { node, expiresAtSeconds }]) => ({
    node,
    expiresAtSeconds,
  }));
  printAnswer(options.output, "NodeList", { items: joined, invited }, () =>
    tableOf(
      ["NODE", "STATUS", "SIZE", "INSTANCES", "LAST REPORT"],
      [
        ...joined.map((one) => [
          one.node,
          one.status,
          String(one.size),
          String(one.instances),
          `${durationOf(one.lastReportSecondsAgo)} ago`,
        ]),
        ...invited.map((one) => [one.node, "invited", "-", "-", "-"]),
      ],
    ),
  );
}

/** `troth node remove NODE`: its agent and its instances are shut out, and invitations for it are void. */
export async function removeNode(
  node: string,
  options: { dir: string; output: OutputFormat },
): Promise<void> {
  using client = await OperatorClient.open(meshDirectory(options.dir));
  const { state } = client;
  const isInvited = [...state.invites.entries()].some(([, invite]) => invite.node === node);
  if (!state.nodes.has(node) && !isInvited)
    throw new CliError(exitCode.notFound, `no node ${node} has joined or is invited; see: troth node list`);
  const { size, proposals } = await client.append([{ kind: "node.remove", body: { node } }]);
  const [waiting] = proposals;
  printAnswer(options.output, "NodeRemoval", { node, size, proposals }, () =>
    waiting === undefined
      ? `${node} is shut out: entry ${size - 1} of the trust log\n`
      : `${node} is shut out once proposal ${shortId(waiting.id)} has its signatures\n`,
  );
}

/** Which of the exit codes a failure to join is. */
function explainRefusal(error: unknown): never {
  const code = codeOf(error);
  if (code === "ERR_NODE_AGENT_JOIN") throw new CliError(exitCode.no, messageOf(error));
  if (code === "ERR_TRANSPORT_CONNECT") throw new CliError(exitCode.unreachable, messageOf(error));
  throw error;
}
