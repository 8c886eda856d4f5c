import { setTimeout as sleep } from "node:timers/promises";
import { base64Of } from "../../../src/base/bytes.ts";
import { exitCode } from "../../../src/cli/exit-codes.ts";
import { OperatorClient } from "../../../src/cli/operator-client.ts";
import { exportPrivateKey, generateEd25519, publicKeyBytes } from "../../../src/crypto/index.ts";
import { formatJoinToken, type JoinToken } from "../../../src/protocol/index.ts";
import { verifierKeyOf } from "../../../src/trust-log/index.ts";
import { openMesh, type RunningMesh, statusOf } from "../../apparatus/running-mesh.ts";
import {
  inviteNode,
  openSecondMachine,
  readToken,
  type SecondMachine,
} from "../../apparatus/second-machine.ts";
import { signerNamed } from "../../fakes/small-trust-log.ts";
import { type Claim, failed, ok } from "../claim.ts";

const expiryMillisMax = 30_000;
const unused = "no such invitation for this node";

/** A token with something the matter, and what comes of joining with it. */
interface BadToken {
  readonly what: string;
  readonly text: string;
  readonly machine?: SecondMachine;
  readonly exitCode: number;
  readonly says: string;
  /** Whether the control plane gets to judge it; the others are refused before anything of them is sent. */
  readonly arrives: boolean;
}

/** Joins as people do it, with `troth join`, on machines that differ in nothing from the one that the token is for. */
export const claim: Claim = {
  text: "a join token works once, for its own node and mesh, until it expires or the node is removed; whatever else is done with it is refused with the reason, raises an alarm where the control plane heard of it, and leaves nothing in the log",
  run: async () => {
    await using mesh = await openMesh({ kind: "up" });
    await using other = await openMesh({ kind: "up", args: ["--trust-domain", "other.internal"] });
    await using first = await openSecondMachine();
    await using stranger = await openSecondMachine();
    const expiring = await expiringToken(mesh, "late");
    const used = await inviteNode(mesh.path, "first");
    const good = await first.join(used);
    if (good.code !== 0 || !(await first.hasState())) return failed(`a good token: ${good.stderr}`);
    // The same machine and key once more, as after its memory of having joined was lost.
    await using again = await openSecondMachine();
    await again.takeKeysOf(first);
    const removed = await inviteNode(mesh.path, "removed");
    await append(mesh, "node.remove", { node: "removed" });

    const problems: string[] = [];
    const tokens: readonly BadToken[] = [
      { what: "used, same key", text: used, machine: again, ...refusedThere },
      { what: "used, other key", text: used, ...refusedThere },
      { what: "of a node that was removed", text: removed, ...refusedThere },
      ...alteredTokens(await inviteNode(mesh.path, "altered"), {
        used: readToken(used),
        other: readToken(await inviteNode(other.path, "altered")),
      }),
    ];
    for (const token of tokens) problems.push(...(await problemsOf(mesh, token, token.machine ?? stranger)));

    await untilEpochAfter(mesh, expiring.expiresAtSeconds);
    const late = { what: "expired", text: expiring.text, ...refusedThere };
    problems.push(...(await problemsOf(mesh, late, stranger)));
    if (problems.length > 0) return failed(problems.slice(0, 3).join("; "));
    return ok(
      `joined once; refused: ${[...tokens, late].map(({ what }) => what).join(", ")}; ` +
        `${tokens.filter(({ arrives }) => arrives).length + 1} came to the control plane and were alarmed`,
    );
  },
};

const refusedThere = { exitCode: exitCode.no, says: unused, arrives: true };
const refusedHere = { exitCode: exitCode.no, arrives: false };

/** One field of a good token after the other is replaced by one that is just as well formed. */
function alteredTokens(
  text: string,
  { used, other }: { readonly used: JoinToken; readonly other: JoinToken },
): readonly BadToken[] {
  const token = readToken(text);
  const alter = (change: Partial<JoinToken>): string => formatJoinToken({ ...token, ...change });
  const ownKey = base64Of(exportPrivateKey(generateEd25519().privateKey));
  const logKey = verifierKeyOf(signerNamed(token.logKey.split("+")[0] ?? ""));
  return [
    { what: "other node name", text: alter({ node: "another" }), ...refusedThere },
    { what: "node name of a member", text: alter({ node: used.node }), ...refusedThere },
    { what: "invitation key made up", text: alter({ inviteKey: ownKey }), ...refusedThere },
    { what: "invitation key of another token", text: alter({ inviteKey: used.inviteKey }), ...refusedThere },
    { what: "other log key", text: alter({ logKey }), says: "serves another log", ...refusedHere },
    {
      what: "other genesis",
      text: alter({ genesis: other.genesis }),
      says: "serves another log",
      ...refusedHere,
    },
    {
      what: "address of another mesh",
      text: alter({ address: other.address }),
      says: "serves another log",
      ...refusedHere,
    },
    {
      what: "of another mesh, with this one's address",
      text: formatJoinToken({ ...other, address: token.address }),
      says: "serves another log",
      ...refusedHere,
    },
    {
      what: "of another mesh, but for the invitation",
      text: alter({ inviteKey: other.inviteKey }),
      ...refusedThere,
    },
    {
      what: "cut short",
      text: text.slice(0, -9),
      exitCode: exitCode.unreadable,
      says: "damaged",
      arrives: false,
    },
  ];
}

/** Tries it, and looks at what the user is told, at the log, and at the alarms. */
async function problemsOf(mesh: RunningMesh, token: BadToken, machine: SecondMachine): Promise<string[]> {
  const before = await observe(mesh);
  const startMillis = performance.now();
  const { code, stderr } = await machine.join(token.text);
  const after = await observe(mesh);
  const problems: string[] = [];
  if (code !== token.exitCode) problems.push(`ended with ${code}`);
  if (!stderr.includes(token.says)) problems.push(`said ${stderr.trim()}`);
  if (await machine.hasState()) problems.push("left state on the machine");
  if (after.joins !== before.joins) problems.push("the log took an entry");
  if (after.alarmedMillis > startMillis !== token.arrives)
    problems.push(token.arrives ? "raised no alarm" : "raised an alarm");
  return problems.map((problem) => `${token.what}: ${problem}`);
}

/** Who is in, and when the last refusal to join was raised: said again, it is the same alarm at another time. */
async function observe(
  mesh: RunningMesh,
): Promise<{ readonly joins: string; readonly alarmedMillis: number }> {
  using client = await OperatorClient.open(mesh.directory);
  const nodes = [...client.state.nodes.entries()].map(([node, { nodeKey }]) => `${node} ${nodeKey}`);
  const askedMillis = performance.now();
  const { alarms } = await client.admin.getStatus({});
  const refusals = alarms.filter(({ reason }) => reason === "join-refused");
  const alarmedMillis = Math.max(0, ...refusals.map(({ secondsAgo }) => askedMillis - secondsAgo * 1000));
  return { joins: nodes.join("\n"), alarmedMillis };
}

async function append(
  mesh: RunningMesh,
  kind: Parameters<OperatorClient["append"]>[0][number]["kind"],
  body: Parameters<OperatorClient["append"]>[0][number]["body"],
): Promise<void> {
  using client = await OperatorClient.open(mesh.directory);
  await client.append([{ kind, body }]);
}

/** An invitation for two seconds instead of ten minutes. */
async function expiringToken(
  mesh: RunningMesh,
  node: string,
): Promise<{ readonly text: string; readonly expiresAtSeconds: number }> {
  const invite = generateEd25519();
  const expiresAtSeconds = Math.floor(Date.now() / 1000) + 2;
  const inviteKey = base64Of(publicKeyBytes(invite.publicKey));
  await append(mesh, "node.invite", { node, inviteKey, expiresAtSeconds });
  const { address, genesis, logKey } = mesh.domain;
  const secret = base64Of(exportPrivateKey(invite.privateKey));
  return { text: formatJoinToken({ node, address, genesis, logKey, inviteKey: secret }), expiresAtSeconds };
}

/** What expires does so by the time of epochs. */
async function untilEpochAfter(mesh: RunningMesh, seconds: number): Promise<void> {
  const deadline = performance.now() + expiryMillisMax;
  for (;;) {
    const { epoch } = await statusOf(mesh.path);
    if (epoch.timeSeconds > seconds) return;
    if (performance.now() > deadline) throw new Error("no epoch came");
    await sleep(500);
  }
}
