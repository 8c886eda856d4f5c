import { execFile } from "node:child_process";
import type { Socket } from "node:net";
import { promisify } from "node:util";
import { fail, type Result } from "../base/result.ts";
import { type CallerRefusal, callersHolding, type LocalCaller } from "./identify-caller.ts";
import { Procfs } from "./procfs.ts";
import { socketStatistics } from "./socket-statistics.ts";

const listBytesMax = 16 * 1024 * 1024;
const listMillisMax = 5_000;
/** Connections that wait to be told; one that comes beyond that is not. */
const waitingMax = 4_096;

type Told = Result<LocalCaller, CallerRefusal>;

interface Waiting {
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
    const descriptor = descriptorOf(socket);
    const link = descriptor === undefined ? undefined : this.#procfs.descriptor(process.pid, descriptor);
    const inode = /^socket:\[([0-9]+)\]$/.exec(link ?? "")?.[1];
    if (inode === undefined)
      return Promise.resolve(fail("connection-over", "the caller has closed the connection"));
    if (this.#waiting.length >= waitingMax)
      return Promise.resolve(fail("changed-meanwhile", `${waitingMax} connections wait to be told`));
    return new Promise((answer) => {
      this.#waiting.push({ inode, answer });
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
    const list = await socketPeers();
    const peers = batch.map(({ inode }) => list?.get(inode) ?? 0);
    const known = peers.filter((peer) => peer > 0);
    const callers = known.length === 0 ? new Map<number, Told>() : await callersHolding(known, this.#procfs);
    for (const [place, { answer }] of batch.entries()) {
      if (list === undefined)
        answer(fail("platform-cannot-tell", "the list of Unix sockets could not be read (ss -xnH)"));
      else
        answer(
          callers.get(peers[place] ?? 0) ?? fail("connection-over", "the caller has closed the connection"),
        );
    }
  }
}

/** By the inodes of sockets, those of their other ends; undefined where they cannot be had. */
async function socketPeers(): Promise<ReadonlyMap<string, number> | undefined> {
  try {
    const options = { env: {}, maxBuffer: listBytesMax, timeout: listMillisMax };
    const { stdout } = await promisify(execFile)(socketStatistics() ?? "", ["-xnH"], options);
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
