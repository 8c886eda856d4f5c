import { type Command, InvalidArgumentError, Option } from "commander";
import { parseIsolation } from "../isolation.ts";
import { outputFormats } from "../output-formats.ts";

/** `-o`: how an answer is printed. */
export function output(): Option {
  return new Option("-o, --output <format>", "how the answer is printed")
    .choices(outputFormats)
    .default("table");
}

/** `--stop-older`, of commands that may write entries which older versions do not know. */
export function stopOlder(): Option {
  return new Option(
    "--stop-older",
    "although proxies that are too old for it stop: they learn nothing more, and soon refuse all calls",
  ).default(false);
}

/** `--timeout` of commands that wait for the proxies. */
export function waitTimeout(): Option {
  return new Option("--timeout <seconds>", "how long to wait for the proxies")
    .default(10)
    .argParser(wholeNumber);
}

/** The EXAMPLES and the EXIT CODES of a command's help. */
export function help(
  examples: readonly (readonly [string, string])[],
  exitCodes: readonly (readonly [number, string])[] = [],
): string {
  const width = Math.max(...examples.map(([command]) => command.length));
  const lines = examples.map(([command, what]) => `${`  ${command.padEnd(width)}   ${what}`.trimEnd()}\n`);
  const codes = exitCodes.map(([code, what]) => `  ${String(code).padEnd(4)}${what}\n`);
  return `\nExamples:\n${lines.join("")}${codes.length === 0 ? "" : `\nExit codes:\n${codes.join("")}`}`;
}

/** `--log-level`. */
export function logLevel(): Option {
  return new Option("--log-level <level>", "how much the mesh's processes log")
    .choices(["debug", "info", "warn", "error"])
    .default("info");
}

/** `--app-protocol`. */
export function appProtocol(): Option {
  return new Option(
    "--app-protocol <protocol>",
    "what the application speaks; auto is HTTP/2 for calls of gRPC and HTTP/1.1 for all else; tcp declares that the service is called over TCP",
  )
    .choices(["auto", "http1", "http2", "tcp"])
    .default("auto");
}

/** `--health` and how it is asked for. */
export function health(): Option[] {
  return [
    new Option(
      "--health <path>",
      "a path that the application answers with less than 400 while it is well; otherwise nobody is sent to it (default: a connection is enough)",
    ),
    new Option("--health-interval <milliseconds>", "how often it is asked")
      .default(500)
      .argParser(wholeNumber),
    new Option("--health-timeout <milliseconds>", "how long an answer may take")
      .default(500)
      .argParser(wholeNumber),
    new Option("--health-failures <count>", "failures in a row that take it out")
      .default(2)
      .argParser(wholeNumber),
    new Option("--health-successes <count>", "successes in a row that bring it back")
      .default(2)
      .argParser(wholeNumber),
  ];
}

/** `--tcp`, as often as wanted. */
export function tcp(): Option {
  return new Option(
    "--tcp <[port=]service>",
    "a port of loopback for connections to a service over TCP, e.g. 15432=/shop/db; without a port one is chosen. The application is told in TROTH_TCP_SHOP_DB",
  )
    .argParser((text: string, before: readonly string[]) => [...before, text])
    .default([], "none");
}

/** `--prefix`, as often as wanted. */
export function prefixes(): Option {
  return new Option(
    "--prefix <prefix...>",
    "what it serves besides its own name, e.g. /media/video; in force wherever and as long as the trust log grants it (troth prefix grant)",
  ).default([], "none");
}

/** `--danger-believe-advertisements`. */
export function dangerBelieveAdvertisements(): Option {
  return new Option(
    "--danger-believe-advertisements",
    "route to whoever says that it serves a prefix, unchecked; in test domains only, to see what the checks are for",
  ).default(false);
}

/** `--outbound-clients`; the environment may say it for all of a shell's commands. */
export function outboundClients(): Option {
  return new Option(
    "--outbound-clients <who>",
    "whom the ports for the application's own calls serve: own is the application and what it has started, any is every process of this machine",
  )
    .choices(["own", "any"])
    .env("TROTH_OUTBOUND_CLIENTS")
    .default("own");
}

/** `--isolate`. */
export function isolate(): Option {
  return new Option(
    "--isolate <how>",
    "keep the application apart: uid:1234 runs it as another user (as root only), netns in a network of its own where only its sidecar's ports are (Linux), uid:1234,netns both",
  ).argParser(parseIsolation);
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

/** `--intermediate-lifetime`, in seconds. */
export function intermediateLifetime(): Option {
  return new Option(
    "--intermediate-lifetime <seconds>",
    "how long the authorities that issue certificates live; they renew themselves (default: 90 days)",
  ).argParser(wholeNumber);
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

/** Reads a number of seconds that people write as 90s, 10m, 2h, 1d, or a share of the lifetime such as 25%. */
export function durationOrShare(text: string): { readonly seconds: number } | { readonly share: number } {
  const [, digits = "", unit = ""] = /^([0-9]{1,9})([smhd%])$/.exec(text) ?? [];
  if (unit === "%" && Number(digits) <= 100) return { share: Number(digits) / 100 };
  const seconds = { s: 1, m: 60, h: 3_600, d: 86_400 }[unit];
  if (seconds === undefined)
    throw new InvalidArgumentError("expected a time such as 10m or a share such as 25%");
  return { seconds: Number(digits) * seconds };
}

/** The directory of the mesh that a command works on. */
export function directoryOf(program: Command): string {
  return String(program.getOptionValue("dir"));
}

/** `--workload-listen`, which may be said again. */
export function workloadListen(): Option {
  return new Option(
    "--workload-listen <address>",
    "another place for the SPIFFE Workload API and Envoy SDS, e.g. unix:///run/troth/workload.sock or tcp://127.0.0.1:8081",
  )
    .argParser((text: string, before: readonly string[]) => [...before, text])
    .default([], "none");
}

/** The container runtime whose containers the agent tells apart. */
export function dockerSocket(): Option {
  return new Option(
    "--docker-socket <path>",
    "Unix socket of the Docker Engine API, or Podman's, that is asked about containers",
  );
}

/** The cluster whose pods the agent tells apart. */
export function kubernetes(): Option[] {
  return [
    new Option("--k8s-issuer <issuer>", "issuer of the service-account tokens by which pods are known"),
    new Option("--k8s-jwks <file-or-url>", "the cluster's public keys (JWKS)"),
    new Option("--k8s-audience <audience>", "audience that a pod's token must have"),
    new Option("--k8s-ca <file>", "CAs, PEM, that the keys' URL may have besides the public web's"),
    new Option("--k8s-token-path <path>", "where pods have their token, if not where Kubernetes puts it"),
    new Option(
      "--k8s-review <url>",
      "the cluster's API, which is asked whether a token still counts (TokenReview)",
    ),
    new Option("--k8s-review-ca <file>", "the cluster's CAs, PEM; that API may have no others"),
    new Option("--k8s-review-token <file>", "the token by which the agent may ask that API"),
  ];
}
