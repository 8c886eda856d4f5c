import { writeFileSync } from "node:fs";
import { join } from "node:path";
import { freePort } from "../../src/cli/free-port.ts";
import { compileProgram, grpcAnswerer } from "../compile-program.ts";
import { answerBytes } from "../measure/load.ts";
import type { Edges } from "../scenarios.ts";
import { findProgram } from "./find-program.ts";
import { nginxCommand, nginxConfig, nginxMissing, nginxProgram } from "./nginx-pair.ts";
import { startListening } from "./pair.ts";

/** The application behind every pair. */
export interface Application extends AsyncDisposable {
  /** On 127.0.0.1. */
  readonly port: number;
}

/** What {@link openApplicationFor} opens, for the report. */
export function aboutApplication(edges: Edges): string {
  if (edges === "grpc") return "gRPC by nghttp2, fixed answers";
  return hasNginx() ? "nginx, return 200" : "node:net, fixed answers";
}

/** Starts an application that speaks this, on one core. */
export async function openApplicationFor(
  edges: Edges,
  folder: string,
  core: number | undefined,
): Promise<Application> {
  const port = await freePort();
  const command = edges === "grpc" ? await grpcCommand(port) : httpCommand(port, folder);
  const running = await startListening(core, command, port);
  return { port, [Symbol.asyncDispose]: () => running[Symbol.asyncDispose]() };
}

/** Answers every call with as much as is expected. */
async function grpcCommand(port: number): Promise<[string, ...string[]]> {
  return [await compileProgram(grpcAnswerer), String(port), String(answerBytes["/bench.Echo/Unary"])];
}

/** Answers /1k and /16k with that many bytes: nginx where there is one, since it is the cheapest; a server of our own otherwise. */
function httpCommand(port: number, folder: string): [string, ...string[]] {
  if (!hasNginx())
    return [process.execPath, join(import.meta.dirname, "application-server.ts"), String(port)];
  const file = join(folder, "application.conf");
  writeFileSync(file, applicationConfig(port, join(folder, "application")));
  return nginxCommand(file);
}

function hasNginx(): boolean {
  return "version" in findProgram(nginxProgram, "-v", nginxMissing);
}

/** Configuration of nginx that answers without touching a file. */
export function applicationConfig(port: number, scratch: string): string {
  // One word of a configuration file must not exceed 4 KiB, so the longer body is put together from the shorter.
  return nginxConfig(
    scratch,
    `
  server {
    listen 127.0.0.1:${port} backlog=4096;
    default_type text/plain;
    set $kibibyte "${"x".repeat(1024)}";
    location = /1k { return 200 "$kibibyte"; }
    location = /16k { return 200 "${"$kibibyte".repeat(16)}"; }
  }`,
  );
}
