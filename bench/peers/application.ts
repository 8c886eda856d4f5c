import { writeFileSync } from "node:fs";
import { join } from "node:path";
import { freePort } from "../../src/cli/free-port.ts";
import { findProgram } from "./find-program.ts";
import { nginxCommand, nginxConfig, nginxMissing, nginxProgram } from "./nginx-pair.ts";
import { startListening } from "./pair.ts";

/** The application behind every pair: it answers /1k and /16k with that many bytes. */
export interface Application extends AsyncDisposable {
  /** On 127.0.0.1. */
  readonly port: number;
  readonly about: string;
}

/** Starts the application: nginx where there is one, since it is the cheapest; a small server of our own otherwise. */
export async function openApplication(folder: string, core: number | undefined): Promise<Application> {
  const port = await freePort();
  const hasNginx = "version" in findProgram(nginxProgram, "-v", nginxMissing);
  const file = join(folder, "application.conf");
  if (hasNginx) writeFileSync(file, applicationConfig(port, join(folder, "application")));
  const running = await startListening(
    core,
    hasNginx
      ? nginxCommand(file)
      : [process.execPath, join(import.meta.dirname, "application-server.ts"), String(port)],
    port,
  );
  return {
    port,
    about: hasNginx ? "nginx, return 200" : "node:net, fixed answers",
    [Symbol.asyncDispose]: () => running[Symbol.asyncDispose](),
  };
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
