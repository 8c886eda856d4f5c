import { execFile } from "node:child_process";
import type { Socket } from "node:net";
import { promisify } from "node:util";
import { fail, type Result } from "../base/result.ts";
import { type CallerRefusal, callersHolding, type LocalCaller } from "./identify-caller.ts";
import { namespacesWith } from "./other-namespaces.ts";
import { Procfs } from "./procfs.ts";
import { socketStatistics, systemProgram } from "./system-program.ts";

const listBytesMax = 16 * 1024 * 1024;
const listMillisMax = 5_000;
/** Connections that wait to be told; one that comes beyond that is not. */
const waitingMax = 4_096;

type Told = Result<LocalCaller, CallerRefusal>;

interface Waiting {
  readonly socket: Socket;
  /** Of this process's own end. */
  readonly inode: string;
  readonly answer: (told: Told) => void;
}

/**
 * As `identifyCaller`, of connections that came in at a Unix socket. Only the kernel's socket diagnostics say which
 * sockets are each other's ends (sock_diag(7), UDIAG_SHOW_PEER); Node has no way to them, so `ss` is asked. Connections
 * that come together, as after a start of whoever serves them, are told together by one list and one look at processes.
 */
export class UnixCallers {
  readonly #procfs: Procfs;
  #waiting: Waiting[] = [];
  #isPassing = false;

  constructor(procfs: Procfs = new Procfs()) {
    this.#procfs = procfs;
  }

  /** Whether it can be told here at all: on Linux, where `ss` is. */
  get tellsCallers(): boolean {
    return this.#procfs.tellsCallers && socketStatistics() !== undefined;
  }

  /** Which processes have the other end of an accepted connection open. */
  identify(socket: Socket): Promise<Told> {
    if (socketStatistics() === undefined)
      return Promise.resolve(
        fail(
          "platform-cannot-tell",
          "ss is not there to tell whose end of a Unix socket it is: install iproute2, or call over TCP on loopback",
        ),
      );
    const inode = this.#inodeOf(socket);
    if (inode === undefined) return Promise.resolve(over);
    if (this.#waiting.length >= waitingMax)
      return Promise.resolve(fail("changed-meanwhile", `${waitingMax} connections wait to be told`));
    return new Promise((answer) => {
      this.#waiting.push({ socket, inode, answer });
      void this.#pass();
    });
  }

  async #pass(): Promise<void> {
    if (this.#isPassing) return;
    this.#isPassing = true;
    try {
      // Those that are accepted in the same turn.
      await new Promise((resolve) => setImmediate(resolve));
      while (this.#waiting.length > 0) {
        const batch = this.#waiting;
        this.#waiting = [];
        await this.#tellAll(batch);
      }
    } finally {
      this.#isPassing = false;
    }
  }

  async #tellAll(batch: readonly Waiting[]): Promise<void> {
    const here = await socketPeers();
    const list = here === undefined ? undefined : await this.#withThoseElsewhere(here, batch);
    const known = batch.flatMap(({ inode }) => list?.get(inode) || []);
    const callers = known.length === 0 ? new Map<number, Told>() : await callersHolding(known, this.#procfs);
    for (const { socket, inode, answer } of batch)
      answer(this.#inodeOf(socket) === inode ? toldOf(inode, list, callers) : over);
  }

  #inodeOf(socket: Socket): string | undefined {
    const descriptor = descriptorOf(socket);
    const link = descriptor === undefined ? undefined : this.#procfs.descriptor(process.pid, descriptor);
    return /^socket:\[([0-9]+)\]$/.exec(link ?? "")?.[1];
  }

  /** Adds the sockets of connections that came from other network namespaces, as containers have them. */
  async #withThoseElsewhere(here: SocketPeers, batch: readonly Waiting[]): Promise<SocketPeers> {
    const elsewhere = new Set(batch.map(({ inode }) => inode).filter((inode) => !here.has(inode)));
    if (elsewhere.size === 0) return here;
    const all = new Map(here);
    for (const pid of namespacesWith(elsewhere, this.#procfs))
      for (const [inode, peer] of (await socketPeers(pid)) ?? [])
        if (elsewhere.has(inode)) all.set(inode, peer);
    return all;
  }
}

const over = fail("connection-over", "the caller has closed the connection");

/** By the inodes of sockets, those of their other ends; 0 where there is none any more. */
type SocketPeers = ReadonlyMap<string, number>;

function toldOf(inode: string, list: SocketPeers | undefined, callers: ReadonlyMap<number, Told>): Told {
  if (list === undefined)
    return fail("platform-cannot-tell", "the list of Unix sockets could not be read (ss -xnH)");
  const peer = list.get(inode);
  if (peer === undefined)
    return fail(
      "out-of-sight",
      "it is in a network namespace that this process may not look into, as a container is: run it as root, where nsenter is (util-linux)",
    );
  return callers.get(peer) ?? over;
}

/** The sockets of this network namespace, or of that of another process; undefined where they cannot be had. */
async function socketPeers(pid?: number): Promise<SocketPeers | undefined> {
  const list = [socketStatistics() ?? "", "-xnH"];
  const [program = "", ...args] =
    pid === undefined ? list : [systemProgram("nsenter") ?? "", `--net=/proc/${pid}/ns/net`, ...list];
  try {
    const options = { env: {}, maxBuffer: listBytesMax, timeout: listMillisMax };
    const { stdout } = await promisify(execFile)(program, args, options);
    // `u_str ESTAB 0 0 /path 123 * 124`: a socket's own inode comes before that of its other end.
    const rows = stdout.matchAll(/ ([0-9]+) \S+ ([0-9]+)\s*$/gm);
    return new Map([...rows].map(([, inode = "", peer]) => [inode, Number(peer)]));
  } catch {
    return undefined;
  }
}

/** The number of a socket's descriptor, which Node keeps on its handle. */
function descriptorOf(socket: Socket): number | undefined {
  const handle: unknown = Reflect.get(socket, "_handle");
  if (typeof handle !== "object" || handle === null) return undefined;
  const descriptor: unknown = Reflect.get(handle, "fd");
  return typeof descriptor === "number" && descriptor >= 0 ? descriptor : undefined;
}
