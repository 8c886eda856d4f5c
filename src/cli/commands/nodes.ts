import { codeOf, messageOf } from "../../base/mesh-error.ts";
import { joinMesh } from "../../node-agent/index.ts";
import { formatJoinToken, parseJoinToken } from "../../protocol/index.ts";
import { entryBodies } from "../../trust-log/index.ts";
import { CliError, exitCode } from "../exit-codes.ts";
import { readMembership, writeMembership } from "../membership.ts";
import { makeMeshDirectory, meshDirectory } from "../mesh-directory.ts";
import { loadNodeKey } from "../node-key.ts";
import { OperatorClient } from "../operator-client.ts";
import { durationOf, type OutputFormat, printAnswer, tableOf, talk } from "../output.ts";
import { shortId } from "../proposed-entry.ts";
import { reachedInWords } from "../proxy-progress.ts";
import { randomBytes, systemClock } from "../system.ts";
import { requireReached, writeEntries } from "../write-entries.ts";
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
    zone: state.zones.get(node)?.zone ?? "",
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
      ["NODE", "STATUS", "ZONE", "SIZE", "INSTANCES", "LAST REPORT"],
      [
        ...joined.map((one) => [
          one.node,
          one.status,
          one.zone === "" ? "-" : one.zone,
          String(one.size),
          String(one.instances),
          `${durationOf(one.lastReportSecondsAgo)} ago`,
        ]),
        ...invited.map((one) => [one.node, "invited", "-", "-", "-", "-"]),
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

/** `troth node zone NODE [ZONE]`: says where a node is, or that it is in no zone. */
export async function zoneNode(
  node: string,
  zone: string | undefined,
  options: { dir: string; output: OutputFormat; none: boolean; wait: boolean; timeout: number },
): Promise<void> {
  if ((zone === undefined) !== options.none)
    throw new CliError(exitCode.usage, "name a zone, as in: troth node zone box2 eu-1, or say --none");
  const named = zone ?? "";
  const body = entryBodies["node.zone"].safeParse({ node, zone: named });
  if (!body.success)
    throw new CliError(
      exitCode.usage,
      `"${named}" is no name of a zone; it is a word of at most 63 of A-Z a-z 0-9 . _ / -`,
    );
  using client = await OperatorClient.open(meshDirectory(options.dir));
  const { state } = client;
  if (!state.nodes.has(node))
    throw new CliError(exitCode.notFound, `no node ${node} has joined; see: troth node list`);
  const before = state.zones.get(node)?.zone ?? "";
  const where = named === "" ? "in no zone" : `in the zone ${named}`;
  if (before === named) talk(`note: ${node} is ${where} already`);
  const entries = before === named ? [] : [{ kind: "node.zone" as const, body: body.data }];
  const waitMillisMax = options.timeout * 1000;
  const { size, proposals, proxies } = await writeEntries(
    client,
    entries,
    options.wait ? waitMillisMax : undefined,
  );
  const view = {
    node,
    zone: named,
    treeSize: size,
    proposals,
    ...(proxies === undefined ? {} : { proxies }),
  };
  printAnswer(options.output, "NodeZone", view, () => {
    const [waiting] = proposals;
    if (waiting !== undefined)
      return `${node} is ${where} once proposal ${shortId(waiting.id)} has its signatures\n`;
    return `${node} is ${where}; tree size ${size}${proxies === undefined ? "" : `: ${reachedInWords(proxies)}`}\n`;
  });
  if (proxies !== undefined) requireReached(proxies, size, waitMillisMax);
}

/** Which of the exit codes a failure to join is. */
function explainRefusal(error: unknown): never {
  const code = codeOf(error);
  if (code === "ERR_NODE_AGENT_JOIN") throw new CliError(exitCode.no, messageOf(error));
  if (code === "ERR_TRANSPORT_CONNECT") throw new CliError(exitCode.unreachable, messageOf(error));
  throw error;
}
