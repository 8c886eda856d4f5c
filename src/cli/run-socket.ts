import { once } from "node:events";
import { chmod, readdir, rm } from "node:fs/promises";
import http from "node:http";
import { dirname, join } from "node:path";
import { z } from "zod";
import { codeOf, messageOf } from "../base/mesh-error.ts";
import { CliError, exitCode } from "./exit-codes.ts";
import type { MeshDirectory } from "./mesh-directory.ts";
import type { Supervisor } from "./supervise.ts";

/** As long as connections on the old sidecar's side can last (`drainMillis` of HTTP/2). */
export const drainSecondsMax = 600;
const requestBytesMax = 1024;
const answerBytesMax = 64 * 1024;
/** How long a `troth run` may take to say what it runs. */
const stateMillisMax = 2_000;
/** Longer than a sidecar may take to be ready and what it replaces to be told. */
const replaceMillisMax = 120_000;
/** Short, since the folder's path may be nearly as long as a socket's may be. */
const namePattern = /^r([0-9]{1,10})\.[0-9]{1,6}$/;

const stateSchema = z.object({
  service: z.string(),
  instance: z.string(),
  pid: z.int(),
  retiring: z.int(),
});
const requestSchema = z.strictObject({ drainSeconds: z.int().min(0).max(drainSecondsMax) });
const refusalSchema = z.object({ message: z.string() });

/** A sidecar of this machine, as the `troth run` says that supervises it. */
export type RunState = z.infer<typeof stateSchema>;

/** One that can be asked for something. */
export interface FoundRun extends RunState {
  readonly socketPath: string;
}

let opened = 0;

/**
 * Lets other processes of this user ask for what only the supervisor of a sidecar can do: HTTP on a Unix socket beside
 * the agent's, in a folder that is closed to other users.
 */
export async function openRunSocket(
  directory: MeshDirectory,
  run: { readonly service: string; readonly supervisor: Supervisor },
): Promise<AsyncDisposable> {
  const folder = dirname(directory.agentSocket);
  await forgetTheDead(folder);
  opened += 1;
  const path = join(folder, `r${process.pid}.${opened}`);
  const server = http.createServer({ requestTimeout: stateMillisMax }, (request, response) => {
    answer(request, run).then(
      ({ status, body }) => response.writeHead(status, { "content-type": "application/json" }).end(body),
      () => request.destroy(),
    );
  });
  await rm(path, { force: true });
  server.listen(path);
  await once(server, "listening");
  await chmod(path, 0o600);
  return {
    [Symbol.asyncDispose]: async () => {
      server.close();
      server.closeAllConnections();
      await rm(path, { force: true });
    },
  };
}

/** The sidecars whose `troth run` is on this machine and answers. */
export async function findRuns(directory: MeshDirectory): Promise<FoundRun[]> {
  const folder = dirname(directory.agentSocket);
  const paths = (await socketsIn(folder)).map((name) => join(folder, name));
  const found = await Promise.all(
    paths.map(async (socketPath) => {
      // One that has just ended, or hangs, has nothing to be asked for.
      const state = await ask(socketPath, { method: "GET", timeoutMillis: stateMillisMax }).catch(
        () => undefined,
      );
      const parsed = stateSchema.safeParse(state?.body);
      return parsed.success ? [{ socketPath, ...parsed.data }] : [];
    }),
  );
  return found.flat();
}

/** Has a sidecar replaced; resolves to the new one once it serves, throws why it does not. */
export async function askToReplace(
  { socketPath, service }: FoundRun,
  drainSeconds: number,
): Promise<RunState> {
  const { status, body } = await ask(socketPath, {
    method: "POST",
    body: JSON.stringify({ drainSeconds }),
    timeoutMillis: replaceMillisMax,
  }).catch((cause: unknown) => {
    throw new CliError(exitCode.failed, `the troth run of ${service} does not answer: ${messageOf(cause)}`);
  });
  const state = stateSchema.safeParse(body);
  if (status === 200 && state.success) return state.data;
  throw new CliError(exitCode.no, refusalSchema.safeParse(body).data?.message ?? `it answered ${status}`);
}

async function answer(
  request: http.IncomingMessage,
  { service, supervisor }: { readonly service: string; readonly supervisor: Supervisor },
): Promise<{ readonly status: number; readonly body: string }> {
  const state = (): string => {
    const { addresses, retiring } = supervisor;
    return JSON.stringify({ service, instance: addresses["instance"] ?? "", pid: process.pid, retiring });
  };
  if (request.method === "GET") return { status: 200, body: state() };
  const asked = requestSchema.safeParse(await readJson(request, requestBytesMax));
  if (request.method !== "POST" || !asked.success)
    return { status: 400, body: JSON.stringify({ message: "expected POST with drainSeconds" }) };
  try {
    await supervisor.replace(asked.data.drainSeconds);
    return { status: 200, body: state() };
  } catch (error) {
    return { status: 409, body: JSON.stringify({ message: messageOf(error) }) };
  }
}

async function ask(
  socketPath: string,
  about: { readonly method: string; readonly body?: string; readonly timeoutMillis: number },
): Promise<{ readonly status: number; readonly body: unknown }> {
  const request = http.request({
    socketPath,
    path: "/",
    method: about.method,
    signal: AbortSignal.timeout(about.timeoutMillis),
    agent: false,
  });
  const response = new Promise<http.IncomingMessage>((resolve, reject) => {
    request.once("response", resolve);
    request.once("error", reject);
  });
  request.end(about.body);
  const come = await response;
  return { status: come.statusCode ?? 0, body: await readJson(come, answerBytesMax) };
}

/** What a message holds, where it is JSON and not too long. */
async function readJson(message: http.IncomingMessage, bytesMax: number): Promise<unknown> {
  const chunks: Buffer[] = [];
  let bytes = 0;
  for await (const chunk of message) {
    const part = Buffer.from(chunk);
    bytes += part.length;
    if (bytes > bytesMax) return undefined;
    chunks.push(part);
  }
  try {
    return JSON.parse(Buffer.concat(chunks).toString("utf8"));
  } catch {
    return undefined;
  }
}

/** A process that was killed could not take its socket with it. */
async function forgetTheDead(folder: string): Promise<void> {
  for (const name of await socketsIn(folder))
    if (!isAlive(Number(namePattern.exec(name)?.[1]))) await rm(join(folder, name), { force: true });
}

async function socketsIn(folder: string): Promise<string[]> {
  try {
    return (await readdir(folder)).filter((name) => namePattern.test(name)).sort();
  } catch (error) {
    if (codeOf(error) === "ENOENT") return [];
    throw error;
  }
}

function isAlive(pid: number): boolean {
  try {
    return process.kill(pid, 0);
  } catch (error) {
    return codeOf(error) === "EPERM";
  }
}
