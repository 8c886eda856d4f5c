import { setTimeout as sleep } from "node:timers/promises";
import type { EntryKind, RevocationReason, TrustState } from "../../trust-log/index.ts";
import {
  type AuthorityView,
  authorityViews,
  canSign,
  type HeldHere,
  instancesUnder,
  nextStep,
  requireAuthority,
  shortAuthority,
  statusInWords,
  unattributedInstances,
} from "../authority-views.ts";
import { CliError, exitCode } from "../exit-codes.ts";
import { meshDirectory } from "../mesh-directory.ts";
import { OperatorClient } from "../operator-client.ts";
import { durationOf, momentOf, type OutputFormat, printAnswer, tableOf } from "../output.ts";
import { shortId } from "../proposed-entry.ts";
import { type ProxiesReached, reachedInWords } from "../proxy-progress.ts";
import { systemClock } from "../system.ts";
import { requireReached, type Written, writeEntries } from "../write-entries.ts";

const lookMillis = 200;

/** What every `troth ca` takes. */
export interface AuthorityOptions {
  readonly dir: string;
  readonly output: OutputFormat;
}

/** What those take that change something. */
export interface AuthorityChangeOptions extends AuthorityOptions {
  readonly wait: boolean;
  /** Seconds to wait for. */
  readonly timeout: number;
  readonly stopOlder: boolean;
}

/** `troth ca show`: the authorities as a tree, how many certificates are of each, and what to do next. */
export async function showAuthorities(options: AuthorityOptions): Promise<void> {
  using client = await OperatorClient.open(meshDirectory(options.dir));
  const views = authorityViews(client.state, await heldBy(client));
  const now = systemClock.nowSeconds();
  const items = views.map((view) => ({
    ...view,
    state: statusInWords(view, views, now),
    next: nextStep(view, views, now),
  }));
  const unsaid = unattributedInstances(client.state);
  printAnswer(options.output, "AuthorityList", { items, unattributedInstances: unsaid }, () => {
    const isWide = options.output === "wide";
    const table = tableOf(
      ["AUTHORITY", "KIND", "STATE", "KEY", "ENDS IN", "CERTIFICATES", "INSTANCES", "NEXT"],
      items.map((one) => [
        `${one.issuer === undefined ? "" : "└ "}${isWide ? one.id : shortAuthority(one.id)}`,
        one.kind,
        one.state,
        one.isHeld ? "here" : "elsewhere",
        isWide ? momentOf(one.notAfterSeconds) : durationOf(one.notAfterSeconds - now),
        one.kind === "intermediate" ? String(one.certificates) : "",
        one.kind === "intermediate" ? String(one.instances) : "",
        one.next,
      ]),
    );
    const note = `${unsaid} instances show certificates of which the log does not say who signed them, since older versions might have followed it: a revocation ends those too\n`;
    return unsaid === 0 ? table : table + note;
  });
}

/** `troth ca activate ID`: it signs from now on, in place of the one of its kind that did. */
export async function activateAuthority(text: string, options: AuthorityChangeOptions): Promise<void> {
  await change(text, options, {
    kind: "ca.activate",
    says: (one) => `${one.kind} ${shortAuthority(one.id)} signs from now on`,
    check: (one, views) => {
      if (!canSign(one, views))
        throw new CliError(
          exitCode.no,
          `the key of ${shortAuthority(one.id)} is not at this control plane, which could sign nothing with it`,
        );
    },
    isDone: () => true,
  });
}

/** `troth ca taint ID`: everything that it has signed is replaced now. */
export async function taintAuthority(text: string, options: AuthorityChangeOptions): Promise<void> {
  await change(text, options, {
    kind: "ca.taint",
    says: (one) => `what ${one.kind} ${shortAuthority(one.id)} has signed is being replaced`,
    isDone: (one, views) => instancesUnder(views, one.id) === 0,
  });
}

/** `troth ca revoke ID`: nothing that it has signed counts any more, ever. */
export async function revokeAuthority(
  text: string,
  options: AuthorityChangeOptions & { readonly reason: RevocationReason; readonly force: boolean },
): Promise<void> {
  const { reason, force } = options;
  await change(text, options, {
    kind: "ca.revoke",
    body: { reason },
    says: (one) => `nothing that ${one.kind} ${shortAuthority(one.id)} has signed counts any more`,
    check: (one, views, state) => {
      const instances = instancesUnder(views, one.id) + unattributedInstances(state);
      if (instances > 0 && !force)
        throw new CliError(
          exitCode.no,
          `${instances} instances show certificates that would end with it: troth ca taint ${shortAuthority(one.id)} --wait has them replaced first; --force cuts their connections, and they obtain others`,
        );
    },
    isDone: () => true,
  });
}

/** What an authority's step is. */
interface Change {
  readonly kind: EntryKind & `ca.${string}`;
  readonly body?: { readonly reason: RevocationReason };
  readonly says: (one: AuthorityView) => string;
  readonly check?: (one: AuthorityView, views: readonly AuthorityView[], state: TrustState) => void;
  /** With --wait, that is waited for too. */
  readonly isDone: (one: AuthorityView, views: readonly AuthorityView[]) => boolean;
}

async function change(text: string, options: AuthorityChangeOptions, step: Change): Promise<void> {
  using client = await OperatorClient.open(meshDirectory(options.dir));
  const views = authorityViews(client.state, await heldBy(client));
  const one = requireAuthority(views, text);
  step.check?.(one, views, client.state);
  const startedMillis = systemClock.monotonicMillis();
  const timeoutMillis = options.timeout * 1000;
  const written = await writeEntries(
    client,
    [{ kind: step.kind, body: { authority: one.id, ...step.body } }],
    options.wait ? timeoutMillis : undefined,
    { mayStopFollowers: options.stopOlder },
  );
  const { size, proposals, proxies } = written;
  if (proxies !== undefined) requireReached(proxies, size, timeoutMillis);
  const isWaitedFor = proxies !== undefined;
  if (isWaitedFor) await untilDone(client, { one, step, deadlineMillis: startedMillis + timeoutMillis });
  const after = authorityViews(client.state, await heldBy(client));
  const instances = instancesUnder(after, one.id);
  const answer = { authority: one.id, authorityKind: one.kind, size, proposals, instances };
  printAnswer(options.output, "AuthorityChange", { ...answer, ...(isWaitedFor ? { proxies } : {}) }, () =>
    inWords(step.says(one), written, step.kind === "ca.taint" ? instances : 0),
  );
  if (isWaitedFor && !step.isDone(one, after))
    throw new CliError(
      exitCode.timedOut,
      `${instances} instances still show certificates of it after ${options.timeout} s; see: troth ca show`,
    );
}

async function untilDone(
  client: OperatorClient,
  { one, step, deadlineMillis }: { one: AuthorityView; step: Change; deadlineMillis: number },
): Promise<void> {
  while (systemClock.monotonicMillis() < deadlineMillis) {
    await client.refresh();
    if (step.isDone(one, authorityViews(client.state, { held: [], issuing: "" }))) return;
    await sleep(lookMillis);
  }
}

function inWords(says: string, { size, proposals, proxies }: Written, instances: number): string {
  const [waiting] = proposals;
  if (waiting !== undefined) return `${says}, once proposal ${shortId(waiting.id)} has its signatures\n`;
  const left = instances > 0 ? `; ${instances} instances have yet to replace theirs` : "";
  return `${says}: entry ${size - 1} of the trust log${reached(proxies)}${left}\n`;
}

function reached(proxies: ProxiesReached | undefined): string {
  return proxies === undefined ? "" : `, ${reachedInWords(proxies)}`;
}

/** Which keys the control plane has. */
export async function heldBy(client: OperatorClient): Promise<HeldHere> {
  const { held, issuing } = await client.ask((admin) => admin.listHeldAuthorities({}));
  return { held, issuing };
}
