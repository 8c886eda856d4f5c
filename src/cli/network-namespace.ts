import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import net from "node:net";
import { join } from "node:path";
import { systemProgram } from "../peer-process/index.ts";
import { foreignEnvironment } from "./compile-cache.ts";
import { CliError, exitCode } from "./exit-codes.ts";
import type { Isolation } from "./isolation.ts";

const loopback = "127.0.0.1";
const answerMillisMax = 10_000;
const errorCharactersMax = 400;

/** What the process in the namespace says. */
export type FromNamespace =
  | { readonly kind: "ready" }
  | { readonly kind: "failed"; readonly message: string }
  /** With the listening socket, which belongs to the namespace wherever it is used. */
  | { readonly kind: "listening"; readonly port: number }
  /** The application listens, or does so no longer. */
  | { readonly kind: "application"; readonly isUp: boolean }
  | { readonly kind: "taken" };

/** What it is asked. */
export type ToNamespace =
  | { readonly kind: "listen"; readonly port: number }
  | { readonly kind: "listening-taken"; readonly port: number }
  /** With a listening socket of this machine, whose connections go to the application. */
  | { readonly kind: "take"; readonly port: number };

/** A network with nothing in it but loopback, on which the sidecar's ports for its application are. */
export interface NetworkNamespace extends AsyncDisposable {
  /** What a command is put behind in order to run there; the same process becomes the command. */
  readonly prefix: readonly string[];
}

/**
 * Makes a network namespace. Connections to `outward` ports in it come out at the same ports of this machine's loopback,
 * where the sidecar takes them; connections to `appPort` of this machine arrive at the same port inside, while the
 * application listens there. Nothing else passes. Throws a {@link CliError} where the kernel does not allow it.
 */
export async function openNetworkNamespace(
  { user }: Isolation,
  ports: { readonly outward: readonly number[]; readonly appPort: number },
): Promise<NetworkNamespace> {
  await using stack = new AsyncDisposableStack();
  const isRoot = process.geteuid?.() === 0;
  const owner = isRoot ? [] : ["--user", "--map-current-user", "--keep-caps"];
  const inside = spawn(
    systemProgram("unshare") ?? "unshare",
    [...owner, "--net", "--", process.execPath, relayScript(), String(ports.appPort)],
    { stdio: ["ignore", "ignore", "pipe", "ipc"], env: foreignEnvironment() },
  );
  stack.defer(() => end(inside));
  await untilReady(inside);
  for (const port of ports.outward) stack.use(await passOutward(inside, port));
  passInward(inside, ports.appPort);
  const opened = stack.move();
  const entered = isRoot ? [] : ["--user", "--preserve-credentials"];
  const asUser = user === undefined ? [] : ["--setgid", String(user.gid), "--setuid", String(user.uid)];
  return {
    prefix: [
      systemProgram("nsenter") ?? "nsenter",
      "--target",
      String(inside.pid),
      "--net",
      ...entered,
      ...asUser,
      "--",
    ],
    [Symbol.asyncDispose]: () => opened.disposeAsync(),
  };
}

function relayScript(): string {
  return join(import.meta.dirname, `namespace-relay${import.meta.filename.endsWith(".ts") ? ".ts" : ".js"}`);
}

async function untilReady(inside: ChildProcess): Promise<void> {
  let errors = "";
  inside.stderr?.on("data", (chunk: Buffer) => {
    errors = (errors + chunk.toString("utf8")).slice(-errorCharactersMax);
  });
  const why = await new Promise<string | undefined>((resolve) => {
    const timer = setTimeout(() => resolve("it does not answer"), answerMillisMax);
    inside.once("error", (error) => resolve(error.message));
    inside.once("exit", () => setTimeout(() => resolve(errors.trim() || "it ended"), 20));
    inside.on("message", (message: FromNamespace) => {
      if (message.kind === "failed") resolve(message.message);
      if (message.kind !== "ready") return;
      clearTimeout(timer);
      resolve(undefined);
    });
  });
  if (why === undefined) return;
  throw new CliError(
    exitCode.failed,
    `no network namespace can be made here: ${why}; run troth run as root, or where users may make namespaces of their own`,
  );
}

/** Takes what is connected to a port in the namespace to the same port outside. */
async function passOutward(inside: ChildProcess, port: number): Promise<AsyncDisposable> {
  const listening = new Promise<net.Server>((resolve) => {
    inside.on("message", (message: FromNamespace, handle) => {
      if (message.kind === "listening" && message.port === port && handle instanceof net.Server)
        resolve(handle);
    });
  });
  tell(inside, { kind: "listen", port });
  const open = new Set<net.Socket>();
  const server = net.createServer({ allowHalfOpen: true, noDelay: true }, (client) => {
    open.add(client);
    client.once("close", () => open.delete(client));
    joinSockets(client, net.connect({ host: loopback, port, allowHalfOpen: true, noDelay: true }));
  });
  server.listen(await listening);
  tell(inside, { kind: "listening-taken", port });
  return {
    [Symbol.asyncDispose]: async () => {
      server.close();
      for (const client of open) client.destroy();
    },
  };
}

/** Lets this machine connect to the application while it listens; the socket is the relay's from then on. */
function passInward(inside: ChildProcess, port: number): void {
  inside.on("message", (message: FromNamespace) => {
    if (message.kind !== "application" || !message.isUp) return;
    const server = net.createServer().listen(port, loopback);
    server.once("error", (error) => {
      process.stderr.write(`troth: nobody can reach the application at port ${port}: ${error.message}\n`);
    });
    server.once("listening", () => {
      const taken = (answer: FromNamespace): void => {
        if (answer.kind !== "taken") return;
        inside.off("message", taken);
        server.close();
      };
      inside.on("message", taken);
      if (inside.connected) inside.send({ kind: "take", port } satisfies ToNamespace, server);
    });
  });
}

/** Has each of two connections carry on what the other brings, and end as it does. */
export function joinSockets(one: net.Socket, other: net.Socket): void {
  for (const [from, to] of [
    [one, other],
    [other, one],
  ] as const) {
    from.on("error", () => to.destroy());
    from.on("close", () => to.destroySoon());
    from.pipe(to);
  }
}

function tell(inside: ChildProcess, message: ToNamespace): void {
  if (inside.connected) inside.send(message);
}

async function end(inside: ChildProcess): Promise<void> {
  if (inside.exitCode !== null || inside.signalCode !== null || inside.pid === undefined) return;
  const gone = once(inside, "exit");
  inside.kill("SIGKILL");
  await gone;
}
