import { canonicalJson } from "../../base/canonical-json.ts";
import { personOf } from "../../trust-log/index.ts";
import { confirmSigning } from "../confirm-signing.ts";
import { describeEntry } from "../describe-entry.ts";
import { CliError, exitCode } from "../exit-codes.ts";
import { meshDirectory } from "../mesh-directory.ts";
import { type JudgedProposal, OperatorClient } from "../operator-client.ts";
import { durationOf, momentOf, type OutputFormat, printAnswer, tableOf } from "../output.ts";
import { missingInWords, proposedEntryOf, shortId } from "../proposed-entry.ts";
import { systemClock } from "../system.ts";

const idCharactersMin = 4;

interface Options {
  readonly dir: string;
  readonly output: OutputFormat;
}

/** `troth proposals`: the entries that wait for the signatures of more people. */
export async function listProposals(options: Options): Promise<void> {
  using client = await OperatorClient.open(meshDirectory(options.dir));
  const items = (await client.proposals()).map(viewOf);
  printAnswer(options.output, "ProposalList", { items }, () =>
    items.length === 0
      ? "Nothing waits for a signature.\n"
      : tableOf(
          ["ID", "ENTRY", "AUTHOR", "SIGNED BY", "MISSING", "EXPIRES IN"],
          items.map((item) => [
            shortId(item.id),
            item.what,
            personOf(item.author),
            [...item.signers, ...item.approvers].map(personOf).join(", "),
            missingInWords(item),
            durationOf(item.expiresAtSeconds - systemClock.nowSeconds()),
          ]),
        ),
  );
}

/** `troth approve ID…`: shows what each proposal does, asks, signs it; ordered once there are enough signatures. */
export async function approve(
  ids: readonly string[],
  options: Options & { readonly yes: boolean; readonly all: boolean; readonly stopOlder: boolean },
): Promise<void> {
  using client = await OperatorClient.open(meshDirectory(options.dir));
  const waiting = await client.proposals();
  const chosen = options.all
    ? waiting.filter((proposal) => whyNot(client, proposal) === undefined)
    : ids.map((id) => find(waiting, id));
  if (chosen.length === 0)
    throw new CliError(
      options.all ? exitCode.notFound : exitCode.usage,
      options.all ? "nothing waits for your signature" : "say which: troth proposals lists them",
    );
  const items: object[] = [];
  const lines: string[] = [];
  for (const proposal of chosen) {
    const reason = whyNot(client, proposal);
    if (reason !== undefined) throw new CliError(exitCode.no, `${shortId(proposal.id)}: ${reason}`);
    await confirmSigning(shownOf(proposal), options.yes);
    const size = await client.approve(proposal, { mayStopFollowers: options.stopOlder });
    const still = size === undefined ? await client.proposals() : [];
    const missing = still.find(({ id }) => id === proposal.id)?.missing ?? { signatures: 0, approvals: 0 };
    items.push({ ...viewOf(proposal), missing, isInForce: size !== undefined, size: size ?? null });
    lines.push(
      size === undefined
        ? `${shortId(proposal.id)}: signed; still waits for ${missingInWords({ role: proposal.needed.role, missing })}\n`
        : `${shortId(proposal.id)}: in force: entry ${size - 1} of the trust log\n`,
    );
  }
  printAnswer(options.output, "Approval", { items }, () => lines.join(""));
}

/** `troth withdraw ID`: forgets a proposal. What was signed stays good until it expires, for whoever has kept it. */
export async function withdraw(id: string, options: Options): Promise<void> {
  using client = await OperatorClient.open(meshDirectory(options.dir));
  const proposal = find(await client.proposals(), id);
  await client.withdraw(proposal.id);
  printAnswer(options.output, "Withdrawal", viewOf(proposal), () => `${shortId(proposal.id)}: withdrawn\n`);
}

function find(waiting: readonly JudgedProposal[], id: string): JudgedProposal {
  const found =
    id.length < idCharactersMin ? [] : waiting.filter((one) => one.id.startsWith(id.toLowerCase()));
  const [only, other] = found;
  if (only === undefined)
    throw new CliError(
      exitCode.notFound,
      `no proposal ${id} waits: it was withdrawn, has expired, or is in the log; see: troth proposals`,
    );
  if (other !== undefined)
    throw new CliError(exitCode.usage, `${id} is the beginning of several; write more of it`);
  return only;
}

/** Why this person's signature would add nothing. */
function whyNot(client: OperatorClient, proposal: JudgedProposal): string | undefined {
  const { needed, missing, signers, approvers } = proposal;
  const isComplete = missing.signatures + missing.approvals === 0;
  // Its thresholds were lowered meanwhile: to send it again is enough.
  if (isComplete) return undefined;
  const waits = `it waits for ${missingInWords({ role: needed.role, missing })}`;
  const same = [...signers, ...approvers].find((name) => personOf(name) === personOf(client.name));
  if (same === client.name) return `you have signed it already; ${waits}`;
  if (same !== undefined)
    return `you have signed it as ${same} already, and it takes another person; ${waits}`;
  if (client.role === needed.role || (client.role === "approver" && needed.approvals > 0)) return undefined;
  return `${client.name} is ${client.role ?? "not in the log"}; ${waits}`;
}

function viewOf(proposal: JudgedProposal): ReturnType<typeof proposedEntryOf> & {
  readonly author: string;
  readonly signers: readonly string[];
  readonly approvers: readonly string[];
  readonly expiresAtSeconds: number;
} {
  const { id, statement, signers, approvers } = proposal;
  const { author, expiresAtSeconds } = statement;
  return { ...proposedEntryOf(id, proposal), author, signers, approvers, expiresAtSeconds };
}

/** What is about to be signed: in words, which leave things out, and then the whole of it. */
function shownOf({ id, statement, signers, approvers, missing, needed }: JudgedProposal): [string, string][] {
  return [
    ["proposal", id],
    ["entry", describeEntry(statement.kind, statement.body)],
    ["says", `${statement.kind} ${canonicalJson(statement.body)}`],
    ["author", statement.author],
    ["until", statement.expiresAtSeconds === 0 ? "without an end" : momentOf(statement.expiresAtSeconds)],
    ["signed", [...signers, ...approvers].join(", ")],
    ["missing", missingInWords({ role: needed.role, missing })],
  ];
}
