import { base64Of } from "../../base/bytes.ts";
import type { AuthorRole } from "../../trust-log/index.ts";
import { CliError, exitCode } from "../exit-codes.ts";
import { meshDirectory } from "../mesh-directory.ts";
import { type NewEntry, OperatorClient } from "../operator-client.ts";
import { type OutputFormat, printAnswer, tableOf } from "../output.ts";
import { shortId } from "../proposed-entry.ts";
import { reachedInWords } from "../proxy-progress.ts";
import { requireReached, writeEntries } from "../write-entries.ts";

const ownRoles: readonly AuthorRole[] = ["issuer", "sequencer", "server"];

/** What every `troth key` takes. */
export interface OwnKeyOptions {
  readonly dir: string;
  readonly output: OutputFormat;
}

/** What those take that write entries. */
export interface OwnKeyChangeOptions extends OwnKeyOptions {
  readonly wait: boolean;
  /** Seconds to wait for. */
  readonly timeout: number;
}

/** Where a key is in its life: in the log and here, in the log with its private half elsewhere, or out of force. */
type KeyState = "prepared" | "acting" | "idle" | "elsewhere" | "removed";

interface ShownKey {
  readonly name: string;
  readonly role: string;
  readonly state: KeyState;
  readonly publicKey: string;
}

const stateWords: Readonly<Record<KeyState, string>> = {
  prepared: "prepared",
  acting: "acts",
  idle: "in force, another one acts",
  elsewhere: "in force, its key is not here",
  removed: "removed",
};

/** `troth key list`: the keys by which the control plane writes entries and is known in TLS. */
export async function listOwnKeys(options: OwnKeyOptions): Promise<void> {
  using client = await OperatorClient.open(meshDirectory(options.dir));
  const items = (await shownKeys(client)).map((one) => ({ ...one, next: nextStep(one) }));
  printAnswer(options.output, "OwnKeyList", { items }, () =>
    tableOf(
      ["NAME", "ROLE", "STATE", "NEXT"],
      items.map(({ name, role, state, next }) => [name, role, stateWords[state], next]),
    ),
  );
}

/** `troth key prepare ROLE`: has the control plane make the next key of a role; it counts for nothing yet. */
export async function prepareOwnKey(role: string, options: OwnKeyOptions): Promise<void> {
  requireRole(role);
  using client = await OperatorClient.open(meshDirectory(options.dir));
  const { key } = await client.ask((admin) => admin.prepareOwnKey({ role }));
  const { name = "", publicKey = new Uint8Array(0) } = key ?? {};
  printAnswer(
    options.output,
    "PreparedKey",
    { name, role, publicKey: base64Of(publicKey) },
    () => `${name} is prepared and counts for nothing yet; troth key activate ${role} has it act\n`,
  );
}

/** `troth key activate ROLE`: the key that was prepared is entered into the log, and acts from that entry on. */
export async function activateOwnKey(role: string, options: OwnKeyChangeOptions): Promise<void> {
  requireRole(role);
  using client = await OperatorClient.open(meshDirectory(options.dir));
  const prepared = (await shownKeys(client)).find((one) => one.role === role && one.state === "prepared");
  if (prepared === undefined)
    throw new CliError(exitCode.notFound, `no key of role ${role} is prepared: troth key prepare ${role}`);
  const { name, publicKey } = prepared;
  const entry = { kind: "key.put", body: { name, role, publicKey } } as const;
  await write(client, { entry, name, says: `${name} acts as ${role} from now on`, options });
}

/** `troth key remove NAME`: what the key signs from now on is without effect, and who shows it in TLS is a stranger. */
export async function removeOwnKey(text: string, options: OwnKeyChangeOptions): Promise<void> {
  using client = await OperatorClient.open(meshDirectory(options.dir));
  const keys = await shownKeys(client);
  const one = keys.find(({ name }) => name === text || name === `${client.domain.trustDomain}/${text}`);
  if (one === undefined || one.state === "prepared")
    throw new CliError(
      exitCode.notFound,
      `the log has no key of the control plane named ${text}; see: troth key list`,
    );
  const { name, role, state } = one;
  if (state === "removed") throw new CliError(exitCode.no, `${name} was removed before`);
  const isOther = keys.some((other) => other.role === role && other.state === "idle");
  if (state === "acting" && !isOther)
    throw new CliError(
      exitCode.no,
      `${name} is the only key of role ${role} that the control plane has: troth key prepare ${role}, then troth key activate ${role}, first`,
    );
  const entry = { kind: "key.remove", body: { name } } as const;
  await write(client, { entry, name, says: `${name} counts no more`, options });
}

async function write(
  client: OperatorClient,
  change: { entry: NewEntry; name: string; says: string; options: OwnKeyChangeOptions },
): Promise<void> {
  const { entry, name, says, options } = change;
  const timeoutMillis = options.timeout * 1000;
  const written = await writeEntries(client, [entry], options.wait ? timeoutMillis : undefined);
  const { size, proposals, proxies } = written;
  if (proxies !== undefined) requireReached(proxies, size, timeoutMillis);
  const reached = proxies === undefined ? {} : { proxies };
  printAnswer(options.output, "OwnKeyChange", { name, size, proposals, ...reached }, () => {
    const [waiting] = proposals;
    if (waiting !== undefined) return `${says}, once proposal ${shortId(waiting.id)} has its signatures\n`;
    const how = proxies === undefined ? "" : `, ${reachedInWords(proxies)}`;
    return `${says}: entry ${size - 1} of the trust log${how}\n`;
  });
}

/** What the log says, and of each key that the control plane has what that says. */
async function shownKeys(client: OperatorClient): Promise<readonly ShownKey[]> {
  const { keys } = await client.ask((admin) => admin.listOwnKeys({}));
  const roles: ReadonlySet<string> = new Set(ownRoles);
  const inLog = [...client.state.authors.entries()]
    .filter(([, { role }]) => roles.has(role))
    .map(([name, { role, publicKey, isRemoved }]): ShownKey => {
      const here = keys.find((one) => one.name === name && base64Of(one.publicKey) === publicKey)?.state;
      const state = here === "acting" || here === "idle" ? here : "elsewhere";
      return { name, role, state: isRemoved ? "removed" : state, publicKey };
    });
  const prepared = keys
    .filter(({ name, state }) => state === "prepared" && !client.state.authors.has(name))
    .map(({ name, role, publicKey }): ShownKey => {
      return { name, role, state: "prepared", publicKey: base64Of(publicKey) };
    });
  return [...inLog, ...prepared].sort(
    (left, right) =>
      left.role.localeCompare(right.role) || left.name.localeCompare(right.name, "en", { numeric: true }),
  );
}

function nextStep({ name, role, state }: ShownKey): string {
  if (state === "prepared") return `troth key activate ${role}`;
  return state === "idle" || state === "elsewhere" ? `troth key remove ${name}` : "";
}

function requireRole(role: string): void {
  if (ownRoles.every((one) => one !== role))
    throw new CliError(exitCode.usage, `"${role}" is none of the roles ${ownRoles.join(", ")}`);
}
