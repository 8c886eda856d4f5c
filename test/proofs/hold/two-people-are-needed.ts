import { setTimeout as sleep } from "node:timers/promises";
import { z } from "zod";
import { canSeeProcesses, signal } from "../../apparatus/marked-processes.ts";
import {
  admit,
  entriesFrom,
  founderOf,
  handMadeEntry,
  type Person,
  printed,
  withFounder,
} from "../../apparatus/person.ts";
import { openMesh, processesOf, type RunningMesh } from "../../apparatus/running-mesh.ts";
import { outcomeOf } from "../../fakes/people.ts";
import { type Claim, failed, ok, skipped } from "../claim.ts";

const epochMillisMax = 40_000;
const proposedSchema = z.looseObject({ proposals: z.array(z.looseObject({ id: z.string() })).min(1) });

/** What somebody tried alone, what came of it, and what should. */
interface Attempt {
  readonly what: string;
  readonly outcome: string;
  readonly expected: RegExp;
}

export const claim: Claim = {
  text: "once two signatures and an approval are required, no one person changes anything, whatever keys and old entries they have; the right three do, over kill -9 of the control plane between their signatures",
  run: async () => {
    if (!canSeeProcesses()) return skipped("finding the process takes procfs");
    await using mesh = await openMesh({ kind: "up" });
    const alice = await founderOf(mesh);
    await using bob = await admit(mesh, { role: "operator", person: "bob" });
    await using carol = await admit(mesh, { role: "approver", person: "carol" });
    await using second = await admit(mesh, { role: "approver", person: "founder" });
    await printed(alice.troth("operator", "require", "--signatures", "2", "--approvals", "1"));

    const id = await propose(alice, "/proof/a");
    const attempts = await aloneTries(mesh, { alice, bob, carol, second, id });
    if (await isAllowed(mesh, "/proof/a")) return failed("one operator alone changed a rule");

    await killControlPlane(mesh);
    const signed = await untilAnswered(() => bob.troth("approve", id, "--yes"));
    if (!signed.includes("still waits for 1 approval")) return failed(`bob: ${signed}`);
    await killControlPlane(mesh);
    const size = await withFounder(mesh, ({ view }) => view.follower.size);
    const approved = await untilAnswered(() => carol.troth("approve", id, "--yes"));
    if (!approved.includes("in force") || !(await isAllowed(mesh, "/proof/a")))
      return failed(`carol: ${approved}`);

    attempts.push(
      ...(await replays(mesh, { alice, carol, id, size })),
      await expiredTry(mesh, { alice, bob }),
    );
    const wrong = attempts.filter(({ outcome, expected }) => !expected.test(outcome));
    return wrong.length === 0
      ? ok(`${attempts.length} of ${attempts.length} attempts by too few refused; effective after 2 kill -9`)
      : failed(wrong.map(({ what, outcome }) => `${what}: ${outcome}`).join("; "));
  },
};

function rule(from: string): {
  readonly kind: string;
  readonly body: Parameters<typeof handMadeEntry>[2]["body"];
} {
  return { kind: "rule.put", body: { from, to: "/proof/z", effect: "allow", methods: [], paths: [] } };
}

function isAllowed(mesh: RunningMesh, from: string): Promise<boolean> {
  return withFounder(mesh, ({ state }) => state.rules.has(`${from} /proof/z`));
}

/** `troth allow`, which proposes now; the proposal's id. */
async function propose(person: Person, from: string): Promise<string> {
  const printedJson: unknown = JSON.parse(
    await printed(person.troth("allow", from, "/proof/z", "-o", "json")),
  );
  return proposedSchema.parse(printedJson).proposals[0]?.id ?? "";
}

interface People {
  readonly alice: Person;
  readonly bob: Person;
  readonly carol: Person;
  /** Alice's other key, of an approver. */
  readonly second: Person;
  readonly id: string;
}

/** One operator alone, by the front door and around it; an approver who is the author. */
async function aloneTries(mesh: RunningMesh, { alice, bob, carol, second, id }: People): Promise<Attempt[]> {
  using calls = await alice.calls();
  const append = async (signers: readonly Person[]): Promise<string> => {
    const keys = signers.map(({ key }) => key);
    return outcomeOf(
      calls.admin.append({ entries: [await handMadeEntry(mesh, keys, { ...rule("/proof/b"), ahead: 1 })] }),
    );
  };
  const said = async (person: Person, ...args: readonly string[]): Promise<string> => {
    const { code, stderr } = await person.troth(...args);
    return `${code} ${stderr}`;
  };
  const require = ["operator", "require", "--signatures", "1", "--approvals", "0", "--kind", "rule.put"];
  const lowered = await alice.troth(...require, "-o", "json");
  return [
    {
      what: "an entry with one signature",
      outcome: await append([alice]),
      expected: /^PermissionDenied unauthorised/,
    },
    {
      what: "one operator and an approver",
      outcome: await append([alice, carol]),
      expected: /^PermissionDenied unauthorised/,
    },
    {
      what: "two operators without approval",
      outcome: await append([alice, bob]),
      expected: /^PermissionDenied unauthorised/,
    },
    {
      what: "the author once more",
      outcome: await said(alice, "approve", id, "--yes"),
      expected: /^1 [^]*signed it already/,
    },
    {
      what: "the author's other key",
      outcome: await said(second, "approve", id, "--yes"),
      expected: /^1 [^]*it takes another person/,
    },
    {
      what: "the author alone lowers what is required",
      outcome: `${lowered.code} ${lowered.stdout}`,
      expected: /^0 [^]*"changed": 0[^]*"approvals": 1/,
    },
    {
      what: "the author alone removes an approver",
      outcome: await said(alice, "operator", "remove", "carol"),
      expected: /^0 [^]*waits for 1 more signature of an operator and 1 approval/,
    },
  ];
}

/** What took effect once is proposed, approved and appended again. */
async function replays(
  mesh: RunningMesh,
  { alice, carol, id, size }: Pick<People, "alice" | "carol" | "id"> & { readonly size: number },
): Promise<Attempt[]> {
  const entries = await entriesFrom(mesh, size);
  const entry =
    entries.find((bytes) => Buffer.from(bytes).includes('"from":"/proof/a"')) ?? new Uint8Array(0);
  using calls = await alice.calls();
  const again = await carol.troth("approve", id, "--yes");
  const replayed = /^PermissionDenied replayed/;
  return [
    {
      what: "appended again",
      outcome: await outcomeOf(calls.admin.append({ entries: [entry] })),
      expected: replayed,
    },
    { what: "proposed again", outcome: await outcomeOf(calls.admin.propose({ entry })), expected: replayed },
    { what: "approved again", outcome: `${again.code} ${again.stderr}`, expected: /^4 [^]*no proposal/ },
  ];
}

/** A proposal that gets its signatures after it has expired. */
async function expiredTry(
  mesh: RunningMesh,
  { alice, bob }: Pick<People, "alice" | "bob">,
): Promise<Attempt> {
  using calls = await alice.calls();
  const entry = await handMadeEntry(mesh, [alice.key], { ...rule("/proof/c"), ahead: 5, lifetimeSeconds: 1 });
  const { id } = await calls.admin.propose({ entry });
  const before = await epochOf(mesh);
  const deadline = performance.now() + epochMillisMax;
  while ((await epochOf(mesh)) === before && performance.now() < deadline) await sleep(500);
  const { code, stderr } = await bob.troth("approve", id, "--yes");
  return { what: "an expired proposal", outcome: `${code} ${stderr}`, expected: /^4 [^]*has expired/ };
}

function epochOf(mesh: RunningMesh): Promise<number> {
  return withFounder(mesh, ({ state }) => state.genesis?.epochNumber ?? 0);
}

async function killControlPlane(mesh: RunningMesh): Promise<void> {
  const [pid] = processesOf(mesh, "control-plane");
  if (pid === undefined) throw new Error("there is no control plane process");
  signal(pid, "SIGKILL");
  // Only then can an answer be of its successor.
  while (processesOf(mesh, "control-plane").includes(pid)) await sleep(20);
}

/** Runs a command until the control plane is back; what it printed. */
async function untilAnswered(run: () => ReturnType<Person["troth"]>): Promise<string> {
  for (let attempt = 0; ; attempt += 1) {
    const { code, stdout, stderr } = await run();
    if (code !== 3 || attempt > 50) return `${stdout}${stderr}`;
    await sleep(200);
  }
}
