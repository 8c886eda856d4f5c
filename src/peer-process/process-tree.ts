import { fail, ok, type Refusal } from "../base/result.ts";
import { type ConnectionRow, findConnections } from "./connection-row.ts";
import { type CallerRefusal, type ConnectionEnds, parentsOf } from "./identify-caller.ts";
import { type ProcessStat, Procfs } from "./procfs.ts";
import { SocketDiagnostics } from "./socket-diagnostics.ts";

/** Connections that wait to be judged; one that is accepted beyond that is refused. */
const waitingMax = 1_024;
/** How long one waits for the application to be known, whose tree it should be of. */
const rootMillisMax = 10_000;
/** Between two looks at all processes of the machine, so that who is refused again and again costs little. */
const wholeLookPauseMillis = 100;
/** Processes of the tree that are looked at first. */
const membersMax = 256;
const tableReadsMax = 3;
/** So many descriptors are looked at before others have a turn: about a millisecond. */
const descriptorsPerTurnMax = 256;

/** A variable of the environment, with a value that nobody can guess, that a tree was started with. */
export interface TreeMark {
  readonly name: string;
  readonly value: string;
}

/** Why a connection is not one of the tree. */
export type TreeRefusal = CallerRefusal | "outside-the-tree" | "too-many-waiting" | "no-application";

/** Who called, as far as can be said; for people. */
export interface Stranger {
  readonly uid: number;
  /** Absent where this process may not look at it. */
  readonly pid?: number;
  readonly executable?: string;
}

/** The answer to one connection. */
export type Membership =
  | { readonly ok: true; readonly value: ProcessStat }
  | (Refusal<TreeRefusal> & { readonly stranger?: Stranger });

interface Waiting {
  readonly ends: ConnectionEnds;
  readonly answer: (membership: Membership) => void;
  row: ConnectionRow | undefined;
  reads: number;
}

/**
 * Says of connections that this process accepts on loopback whether a process of one tree made them: the application
 * that was started, its descendants, and what has left the tree (a daemon, whose parent ended) with the mark in its
 * environment. A process of the tree that hands its connection on answers for whoever it hands it to.
 *
 * A process of the same user can read the mark, and can trace the application; only another user, or another machine,
 * is kept out by the kernel.
 *
 * All that wait are judged in one pass: the table of connections is read once, then the descriptors of known members are
 * looked at; only for what none of them has open, those of all processes, apart and seldom.
 */
export class ProcessTree implements Disposable {
  readonly #procfs: Procfs;
  readonly #mark: string;
  readonly #diagnostics = new SocketDiagnostics();
  /** The application first; in the order in which they were found. */
  readonly #members = new Map<number, ProcessStat>();
  readonly #users = new Set<number>();
  readonly #mayLookAtOthers: boolean;
  #isPlanted = false;
  #waiting: Waiting[] = [];
  #strange: Waiting[] = [];
  #isPassing = false;
  #isLooking = false;
  #timer: NodeJS.Timeout | undefined;

  constructor(mark: TreeMark, procfs: Procfs = new Procfs()) {
    this.#procfs = procfs;
    this.#mark = `${mark.name}=${mark.value}`;
    this.#mayLookAtOthers = process.geteuid?.() === 0;
  }

  /** The tree grows from this process from now on; what was found of the one before stays, while it lives. */
  plant(root: Pick<ProcessStat, "pid" | "startedTicks">): void {
    const stat = this.#procfs.stat(root.pid);
    if (stat?.startedTicks === root.startedTicks) this.#add(stat);
    this.#isPlanted = true;
    clearTimeout(this.#timer);
    this.#timer = undefined;
    void this.#pass();
  }

  /** Judges a connection that has just been accepted; answers within milliseconds, or a second on a crowded machine. */
  judge(ends: ConnectionEnds): Promise<Membership> {
    return new Promise((answer) => {
      if (this.#waiting.length + this.#strange.length >= waitingMax)
        return answer(fail("too-many-waiting", `${waitingMax} connections are being judged`));
      this.#waiting.push({ ends, answer, row: undefined, reads: 0 });
      if (this.#isPlanted) return void this.#pass();
      this.#timer ??= setTimeout(() => this.#giveUp(), rootMillisMax);
    });
  }

  /** What the processes of the tree have used of the processors since each began, and what memory they have now. */
  usage(): { readonly cpuMillis: number; readonly memoryBytes: number } {
    let [cpuMillis, memoryBytes] = [0, 0];
    for (const { pid } of [...this.#liveMembers(), ...this.#newMembers()]) {
      const used = this.#procfs.usage(pid);
      cpuMillis += used?.cpuMillis ?? 0;
      memoryBytes += used?.memoryBytes ?? 0;
    }
    return { cpuMillis, memoryBytes };
  }

  [Symbol.dispose](): void {
    clearTimeout(this.#timer);
    this.#diagnostics[Symbol.dispose]();
    this.#giveUp();
  }

  #giveUp(): void {
    const all = [...this.#waiting, ...this.#strange];
    this.#waiting = [];
    this.#strange = [];
    for (const { answer } of all)
      answer(fail("no-application", "it is not known which process is the application"));
  }

  async #pass(): Promise<void> {
    if (this.#isPassing) return;
    this.#isPassing = true;
    try {
      while (this.#isPlanted && this.#waiting.length > 0) {
        const batch = this.#waiting;
        this.#waiting = [];
        await this.#judgeAll(batch);
      }
    } finally {
      this.#isPassing = false;
    }
  }

  async #judgeAll(batch: readonly Waiting[]): Promise<void> {
    const sought = batch.map(({ ends: { local, remote } }) => ({ near: remote, far: local }));
    const rows = await findConnections(this.#procfs, sought, this.#diagnostics);
    const found = new Map<string, Waiting>();
    for (const [place, one] of batch.entries()) {
      if (rows === undefined) {
        one.answer(fail("platform-cannot-tell", "no table of connections in /proc"));
        continue;
      }
      one.row = rows[place];
      if (one.row === undefined) this.#readAgain(one);
      else if (one.row.inode === 0) one.answer(fail("connection-over", "the caller has closed it"));
      else found.set(`socket:[${one.row.inode}]`, one);
    }
    await this.#findAmong(this.#liveMembers(), found);
    if (found.size > 0) await this.#findAmong(this.#newMembers(), found);
    for (const one of found.values()) this.#doubt(one);
  }

  /** A table that changes while it is read may be read without a row that is in it all the time. */
  #readAgain(one: Waiting): void {
    one.reads += 1;
    if (one.reads < tableReadsMax) this.#waiting.push(one);
    else one.answer(fail("not-of-this-machine", "no such connection in /proc/net/tcp"));
  }

  /** Answers for those of `found` that one of these processes has open, and takes them out. */
  async #findAmong(processes: Iterable<ProcessStat>, found: Map<string, Waiting>): Promise<void> {
    const turn = new Turn();
    for (const member of processes) {
      for (const descriptor of this.#procfs.descriptors(member.pid) ?? []) {
        if (found.size === 0) return;
        if (turn.isOver()) await turn.pass();
        const link = this.#procfs.descriptor(member.pid, descriptor) ?? "";
        const one = found.get(link);
        if (one === undefined || !this.#isStill(member)) continue;
        found.delete(link);
        this.#admit(one, member);
      }
    }
  }

  #admit({ row, answer }: Waiting, member: ProcessStat): void {
    const uid = row?.uid ?? -1;
    // Who made a socket as another user has given it to the tree, not got it from there.
    if (!this.#users.has(uid))
      return answer({ ...fail("outside-the-tree", `user ${uid} made the connection`), stranger: { uid } });
    answer(ok(member));
  }

  /** The number may have been given out again. */
  #isStill({ pid, startedTicks }: ProcessStat): boolean {
    return this.#procfs.stat(pid)?.startedTicks === startedTicks;
  }

  #liveMembers(): ProcessStat[] {
    for (const member of this.#members.values()) if (!this.#isStill(member)) this.#members.delete(member.pid);
    return [...this.#members.values()];
  }

  /** The children of members, and theirs, that are no members yet; they become so. */
  *#newMembers(): Generator<ProcessStat> {
    for (const parent of this.#members.values())
      for (const pid of this.#procfs.children(parent.pid) ?? []) {
        if (this.#members.has(pid)) continue;
        const child = this.#procfs.stat(pid);
        if (child?.parentPid !== parent.pid || child.startedTicks < parent.startedTicks) continue;
        // A number in the list that was given out anew meanwhile is not the child of a parent that still is the same.
        if (!this.#isStill(parent) || !this.#add(child)) continue;
        yield child;
      }
  }

  #add(member: ProcessStat): boolean {
    if (this.#members.size >= membersMax && !this.#members.has(member.pid)) return false;
    this.#members.set(member.pid, member);
    const uid = this.#procfs.owner(member.pid)?.uid;
    if (uid !== undefined) this.#users.add(uid);
    return true;
  }

  /** No known member has it open. */
  #doubt(one: Waiting): void {
    const uid = one.row?.uid ?? -1;
    // Processes of other users cannot be looked at, and the tree has none that could be.
    if (!this.#users.has(uid) && !this.#mayLookAtOthers)
      return one.answer({
        ...fail("outside-the-tree", `user ${uid} made the connection`),
        stranger: { uid },
      });
    this.#strange.push(one);
    void this.#lookAtAll();
  }

  async #lookAtAll(): Promise<void> {
    if (this.#isLooking) return;
    this.#isLooking = true;
    try {
      while (this.#strange.length > 0) {
        const batch = this.#strange;
        this.#strange = [];
        await this.#judgeStrange(batch);
        if (this.#strange.length > 0)
          await new Promise((resolve) => setTimeout(resolve, wholeLookPauseMillis));
      }
    } finally {
      this.#isLooking = false;
    }
  }

  async #judgeStrange(batch: readonly Waiting[]): Promise<void> {
    const found = new Map(batch.map((one) => [`socket:[${one.row?.inode ?? 0}]`, one]));
    const strangers = new Map<string, Stranger>();
    const turn = new Turn();
    for (const pid of this.#procfs.pids()) {
      const holder = this.#procfs.stat(pid);
      if (holder === undefined) continue;
      for (const descriptor of this.#procfs.descriptors(pid) ?? []) {
        if (turn.isOver()) await turn.pass();
        const link = this.#procfs.descriptor(pid, descriptor) ?? "";
        const one = found.get(link);
        if (one === undefined) continue;
        if (this.#isOfTheTree(holder)) {
          found.delete(link);
          this.#admit(one, holder);
        } else strangers.set(link, this.#describe(holder, one));
      }
    }
    for (const [link, { row, answer }] of found) {
      const uid = row?.uid ?? -1;
      const stranger = strangers.get(link);
      answer(
        stranger === undefined
          ? { ...fail("out-of-sight", "no process that may be looked at has it open"), stranger: { uid } }
          : { ...fail("outside-the-tree", "it is no process of the application's"), stranger },
      );
    }
  }

  /** A descendant, or one with the mark; it is a member from then on. What was read of it must be of the same process. */
  #isOfTheTree(holder: ProcessStat): boolean {
    const isMember = ({ pid, startedTicks }: ProcessStat): boolean =>
      this.#members.get(pid)?.startedTicks === startedTicks;
    const isDescendant = isMember(holder) || parentsOf(holder, this.#procfs).some(isMember);
    const isOfTheTree = isDescendant || this.#procfs.hasInEnvironment(holder.pid, this.#mark);
    if (!isOfTheTree || !this.#isStill(holder)) return false;
    this.#add(holder);
    return true;
  }

  #describe({ pid }: ProcessStat, { row }: Waiting): Stranger {
    const executable = this.#procfs.executable(pid);
    return { uid: row?.uid ?? -1, pid, ...(executable === undefined ? {} : { executable }) };
  }
}

/** Lets others have a turn now and then. */
class Turn {
  #looked = 0;

  isOver(): boolean {
    this.#looked += 1;
    return this.#looked > descriptorsPerTurnMax;
  }

  async pass(): Promise<void> {
    this.#looked = 0;
    await new Promise((resolve) => setImmediate(resolve));
  }
}
