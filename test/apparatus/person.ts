import { setTimeout as sleep } from "node:timers/promises";
import type { JsonObject } from "../../src/base/canonical-json.ts";
import { meshDirectory, requireKnownDomain } from "../../src/cli/mesh-directory.ts";
import { loadOperator, OperatorClient } from "../../src/cli/operator-client.ts";
import { hostAndPort } from "../../src/node-agent/index.ts";
import { entryVersion, type NoteSigner, parseEntry, signEntry } from "../../src/trust-log/index.ts";
import { temporaryFolder } from "../contracts/temporary-folder.ts";
import { type AdminCalls, adminAs } from "../fakes/people.ts";
import type { Ended } from "./running-command.ts";
import { type RunningMesh, troth } from "./running-mesh.ts";

const answerMillisMax = 30_000;

/** A person with a mesh directory and a key of their own. */
export interface Person extends AsyncDisposable {
  readonly name: string;
  readonly key: NoteSigner;
  /** Runs `troth` in this person's directory. */
  readonly troth: (...args: readonly string[]) => Promise<Ended>;
  /** Calls the admin API by hand, under this person's key. */
  readonly calls: () => Promise<AdminCalls>;
}

/** The founder, whose directory is the mesh's. */
export async function founderOf(mesh: RunningMesh): Promise<Person> {
  return personIn(mesh.path, () => Promise.resolve());
}

/** Lets a person make a key from the mesh's card, and the founder enter it into the log. */
export async function admit(
  mesh: RunningMesh,
  { role, person }: { readonly role: string; readonly person: string },
): Promise<Person> {
  const folder = await temporaryFolder();
  const card = await printed(troth(mesh.path, "operator", "card"));
  const made = troth(folder.path, "operator", "key", "--name", person, "--role", role, card);
  await printed(troth(mesh.path, "operator", "add", await printed(made)));
  return personIn(folder.path, async () => {
    await folder[Symbol.asyncDispose]();
  });
}

async function personIn(path: string, close: () => Promise<void>): Promise<Person> {
  const directory = meshDirectory(path);
  const { operator, address } = await requireKnownDomain(directory);
  const key = await loadOperator(directory, operator);
  return {
    name: operator,
    key,
    troth: (...args) => troth(path, ...args),
    calls: () => adminAs(hostAndPort(address), key),
    [Symbol.asyncDispose]: close,
  };
}

/** What a command printed; throws where it failed. */
export async function printed(command: Promise<Ended>): Promise<string> {
  const { code, stdout, stderr } = await command;
  if (code !== 0) throw new Error(`troth ended with ${code}: ${stderr.trim()}`);
  return stdout.trim();
}

/** Runs something against the state of the log as the founder's own client folds it; waits for the control plane. */
export async function withFounder<Answer>(
  mesh: RunningMesh,
  ask: (client: OperatorClient) => Answer | Promise<Answer>,
): Promise<Answer> {
  const deadline = performance.now() + answerMillisMax;
  for (;;) {
    try {
      using client = await OperatorClient.open(mesh.directory);
      return await ask(client);
    } catch (error) {
      if (performance.now() > deadline) throw error;
      await sleep(100);
    }
  }
}

/** An entry of a person's, signed by all of `signers`, the author first, under the author's next free number. */
export async function handMadeEntry(
  mesh: RunningMesh,
  signers: readonly NoteSigner[],
  {
    kind,
    body,
    lifetimeSeconds = 600,
    ahead = 0,
  }: {
    readonly kind: string;
    readonly body: JsonObject;
    readonly lifetimeSeconds?: number;
    readonly ahead?: number;
  },
): Promise<Uint8Array> {
  const [author] = signers;
  if (author === undefined) throw new Error("nobody signs");
  return withFounder(mesh, ({ state }) => {
    const { genesis = "", epochTimeSeconds = 0 } = state.genesis ?? {};
    const sequence = (state.authors.get(author.name)?.sequence ?? 0) + 1 + ahead;
    const expiresAtSeconds = epochTimeSeconds + lifetimeSeconds;
    const statement = { kind, version: entryVersion, log: genesis, author: author.name, sequence };
    return signEntry({ ...statement, expiresAtSeconds, body }, signers);
  });
}

/** The kinds of the entries that the log has from a size on. */
export async function kindsFrom(mesh: RunningMesh, size: number): Promise<string[]> {
  return (await entriesFrom(mesh, size)).map((entry) => {
    const parsed = parseEntry(entry);
    return parsed.ok ? parsed.value.statement.kind : "unreadable";
  });
}

/** The entries that the log has from a size on. */
export async function entriesFrom(mesh: RunningMesh, size: number): Promise<Uint8Array[]> {
  return withFounder(mesh, async ({ admin }) => {
    const entries: Uint8Array[] = [];
    for await (const { content } of admin.readLog({ fromSize: BigInt(size) }))
      if (content.case === "step") entries.push(...content.value.entries);
    return entries;
  });
}
