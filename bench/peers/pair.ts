import net from "node:net";
import { setTimeout as sleep } from "node:timers/promises";
import type { Credentials } from "../../test/apparatus/hostile-certificates.ts";
import { RunningCommand } from "../../test/apparatus/running-command.ts";
import { type Cores, pinned } from "../cores.ts";
import type { TestAuthority } from "./test-authority.ts";

const listenMillisMax = 15_000;
const pollMillis = 25;

/** What all pairs of a run share. */
export interface Stage {
  /** For files of this run. */
  readonly folder: string;
  readonly cores: Cores;
  readonly authority: TestAuthority;
  /** Port of the application on 127.0.0.1. */
  readonly appPort: number;
}

/** An outbound and an inbound proxy with mutual TLS between them, or no proxy at all. */
export interface Pair extends AsyncDisposable {
  /** host:port where the client sends plain HTTP/1.1. */
  readonly address: string;
  /** What the client sends as Host. */
  readonly host: string;
  /** Processes of the outbound proxy; none where there is no proxy. */
  readonly outbound: readonly number[];
  readonly inbound: readonly number[];
  /** The mutual TLS listener of the inbound proxy, for measuring handshakes. */
  readonly mesh?: MeshListener;
}

/** A mutual TLS listener, and what a client must show there. */
export interface MeshListener {
  /** host:port. */
  readonly address: string;
  readonly host: string;
  readonly openCredentials: () => Promise<{ readonly credentials: Credentials } & AsyncDisposable>;
}

/** A kind of proxy that is measured. */
export interface Peer {
  readonly name: string;
  /** One line on what is run, for the report. */
  readonly about: string;
  /** Its version, or how to get it where it is missing. */
  readonly find: () => { readonly version: string } | { readonly missing: string };
  readonly open: (stage: Stage) => Promise<Pair>;
}

/** Starts a program on a core and waits until it listens on a port of 127.0.0.1. */
export async function startListening(
  core: number | undefined,
  command: readonly [string, ...string[]],
  port: number,
): Promise<RunningCommand> {
  const [file, ...args] = command;
  await using stack = new AsyncDisposableStack();
  const running = stack.use(new RunningCommand(...pinned(core, file, args)));
  await untilListening(port, running);
  stack.move();
  return running;
}

/** Waits until something accepts connections on a port of 127.0.0.1; throws what the command says when nothing does. */
export async function untilListening(port: number, command: RunningCommand): Promise<void> {
  const deadline = performance.now() + listenMillisMax;
  while (!(await accepts(port))) {
    if (performance.now() > deadline || !isRunning(command.pid))
      throw new Error(`nothing listens on port ${port}: ${command.tail()}`);
    await sleep(pollMillis);
  }
}

function isRunning(pid: number): boolean {
  try {
    return process.kill(pid, 0);
  } catch {
    return false;
  }
}

function accepts(port: number): Promise<boolean> {
  return new Promise((resolve) => {
    const socket = net.connect({ host: "127.0.0.1", port });
    socket.once("connect", () => {
      socket.destroy();
      resolve(true);
    });
    socket.once("error", () => resolve(false));
  });
}
