import { type Command, InvalidArgumentError, Option } from "commander";
import { parseOutputFormat } from "../output.ts";

/** `-o`: how an answer is printed. */
export function output(): Option {
  return new Option("-o, --output <format>", "table or json").default("table").argParser(parseOutputFormat);
}

/** `--log-level`. */
export function logLevel(): Option {
  return new Option("--log-level <level>", "how much the mesh's processes log")
    .choices(["debug", "info", "warn", "error"])
    .default("info");
}

/** `--admin-listen`, for health and metrics. */
export function adminListen(): Option {
  return new Option(
    "--admin-listen <host:port>",
    "where health and metrics are shown, on loopback (default: any port of 127.0.0.1)",
  );
}

/** `--node`. */
export function node(): Option {
  return new Option("--node <name>", "name of this machine in the mesh").default("local");
}

/** `--svid-lifetime`, in seconds. */
export function svidLifetime(): Option {
  return new Option("--svid-lifetime <seconds>", "how long certificates live")
    .default(3600)
    .argParser(wholeNumber);
}

/** Reads a TCP port. */
export function port(text: string): number {
  const value = wholeNumber(text);
  if (value > 65_535) throw new InvalidArgumentError("a port is at most 65535");
  return value;
}

/** Reads a whole number of at most nine digits. */
export function wholeNumber(text: string): number {
  if (!/^[0-9]{1,9}$/.test(text)) throw new InvalidArgumentError("expected a whole number");
  return Number(text);
}

/** The directory of the mesh that a command works on. */
export function directoryOf(program: Command): string {
  return String(program.getOptionValue("dir"));
}
