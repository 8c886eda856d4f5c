import { isIPv4 } from "node:net";
import { isAbsolute } from "node:path";
import { CliError, exitCode } from "./exit-codes.ts";

/** A place on this machine, as `SPIFFE_ENDPOINT_SOCKET` names it (SPIFFE Workload Endpoint, section 4). */
export type LocalEndpoint =
  | { readonly kind: "unix"; readonly path: string }
  | { readonly kind: "tcp"; readonly host: string; readonly port: number };

/** Reads `unix:///path` or `tcp://127.0.0.1:port`; throws with what is expected. */
export function requireLocalEndpoint(text: string): LocalEndpoint {
  const path = /^unix:\/\/(\/.*)$/.exec(text)?.[1];
  if (path !== undefined && isAbsolute(path)) return { kind: "unix", path };
  const [, host = "", digits = ""] = /^tcp:\/\/(.+):([0-9]{1,5})$/.exec(text) ?? [];
  const bare = host.replace(/^\[(.*)\]$/, "$1");
  const isLoopback = bare === "::1" || (isIPv4(bare) && bare.startsWith("127."));
  const port = Number(digits);
  if (isLoopback && digits !== "" && port <= 65_535) return { kind: "tcp", host: bare, port };
  throw new CliError(
    exitCode.usage,
    `--workload-listen takes unix:///absolute/path or tcp://127.0.0.1:PORT, not "${text}"; it is told who calls on this machine alone`,
  );
}
