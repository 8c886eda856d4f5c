import { readFile, stat } from "node:fs/promises";
import { dirname, resolve } from "node:path";
import { bytesOf } from "../base/bytes.ts";
import { hostAndPort } from "../base/host-and-port.ts";
import { codeOf, messageOf } from "../base/mesh-error.ts";
import {
  dialectVersion,
  fileBytesMax,
  formatProblem,
  type GatewayDocument,
  type Problem,
  readGateway,
  type SourceText,
  writeYaml,
} from "../configuration/index.ts";
import {
  defaultSourceLimits,
  type EdgeCertificate,
  type EdgeListenerSettings,
  type GatewaySettings,
} from "../data-plane/index.ts";
import type { ServiceName } from "../identity/index.ts";
import { requireServiceName } from "./commands/run-service.ts";
import { CliError, exitCode } from "./exit-codes.ts";

const certificateBytesMax = 256 * 1024;
const lookMillis = 1_000;

/** What a gateway is told on the command line: a file, or one listener and one route. */
export interface GatewayFlags {
  readonly file?: string;
  readonly service: string;
  readonly listen?: string;
  readonly certificate?: string;
  readonly key?: string;
  readonly host: string;
  readonly pathPrefix: string;
  readonly to?: string;
}

/** What the flags and the files that they name say. */
export interface LoadedGateway {
  readonly service: ServiceName;
  readonly settings: GatewaySettings;
}

/** Where a gateway's settings come from, and a way to hear when they change. */
export class GatewaySource {
  readonly #flags: GatewayFlags;
  /** The state of each file just before it was read. */
  #seen = new Map<string, string>();

  constructor(flags: GatewayFlags) {
    this.#flags = flags;
  }

  /** Reads everything; throws a CliError of exit code 65 with every problem and its place. */
  async load(): Promise<LoadedGateway> {
    const { file } = this.#flags;
    if (file !== undefined) this.#seen.set(resolve(file), await stateOf(resolve(file)));
    const source = file === undefined ? sourceOfFlags(this.#flags) : await sourceOfFile(file);
    const { document, problems } = readGateway(source);
    if (document === undefined) throw unreadable(problems);
    const folder = file === undefined ? process.cwd() : dirname(resolve(file));
    const { metadata, spec } = document.gateway;
    await this.#forgetAllBut(file === undefined ? [] : [resolve(file)], filesOf(document, folder));
    const listeners = await readListeners(document, folder);
    return {
      service: requireServiceName(metadata.name),
      settings: {
        listeners,
        routes: spec.routes.map(({ hosts, pathPrefix, service, stripPrefix }) => ({
          hosts,
          pathPrefix,
          service: requireServiceName(service),
          isPrefixStripped: stripPrefix,
        })),
        limits: {
          connectionsPerAddressMax:
            spec.limits.connectionsPerAddressMax ?? defaultSourceLimits.connectionsPerAddressMax,
          requestsPerAddressMax:
            spec.limits.requestsPerAddressMax ?? defaultSourceLimits.requestsPerAddressMax,
        },
      },
    };
  }

  /** Calls back, one call after the other, when any file is another than when it was read; with what it says, or why it says nothing. */
  watch(changed: (loaded: LoadedGateway | Error) => Promise<void>): Disposable {
    let isOver = false;
    let timer: NodeJS.Timeout | undefined;
    const look = async (): Promise<void> => {
      if (await this.#hasChanged())
        await changed(await this.load().catch((error: unknown) => new Error(messageOf(error))));
      if (!isOver) timer = setTimeout(() => void look(), lookMillis);
    };
    timer = setTimeout(() => void look(), lookMillis);
    return {
      [Symbol.dispose]: () => {
        isOver = true;
        clearTimeout(timer);
      },
    };
  }

  async #forgetAllBut(read: readonly string[], unread: readonly string[]): Promise<void> {
    const seen = new Map<string, string>();
    for (const file of read) seen.set(file, this.#seen.get(file) ?? "");
    for (const file of unread) seen.set(file, await stateOf(file));
    this.#seen = seen;
  }

  async #hasChanged(): Promise<boolean> {
    for (const [file, state] of this.#seen) if ((await stateOf(file)) !== state) return true;
    return false;
  }
}

/** What tells one state of a file from another; a link is followed, so a folder swapped by one is seen. */
async function stateOf(file: string): Promise<string> {
  const found = await stat(file, { bigint: true }).catch(() => undefined);
  return found === undefined ? "none" : `${found.ino} ${found.size} ${found.mtimeNs}`;
}

function sourceOfFlags({
  service,
  listen,
  certificate,
  key,
  host,
  pathPrefix,
  to,
}: GatewayFlags): SourceText {
  if (listen === undefined || to === undefined)
    throw new CliError(
      exitCode.usage,
      "say where to listen and which service to call, with --listen and --to, or name a file with --file",
    );
  if ((certificate === undefined) !== (key === undefined))
    throw new CliError(exitCode.usage, "--certificate and --key go together");
  const tls = certificate === undefined ? {} : { tls: [{ certificate, key }] };
  const gateway = {
    apiVersion: dialectVersion,
    kind: "Gateway",
    metadata: { name: service },
    spec: {
      listeners: [{ address: listen, ...tls }],
      routes: [{ hosts: [host], pathPrefix, service: to }],
    },
  };
  return { name: "the command line", bytes: bytesOf(writeYaml([gateway])) };
}

async function sourceOfFile(file: string): Promise<SourceText> {
  return { name: file, bytes: await readBounded(file, fileBytesMax) };
}

function filesOf({ gateway }: GatewayDocument, folder: string): string[] {
  return gateway.spec.listeners.flatMap(({ tls = [] }) =>
    tls.flatMap(({ certificate, key }) => [resolve(folder, certificate), resolve(folder, key)]),
  );
}

async function readListeners(
  { gateway, problemAt }: GatewayDocument,
  folder: string,
): Promise<EdgeListenerSettings[]> {
  const problems: Problem[] = [];
  const listeners: EdgeListenerSettings[] = [];
  for (const [place, { address, tls = [], redirectToHttpsPort }] of gateway.spec.listeners.entries()) {
    const certificates: EdgeCertificate[] = [];
    for (const [at, { certificate, key }] of tls.entries()) {
      const path = ["spec", "listeners", place, "tls", at];
      const read = async (name: string, field: "certificate" | "key"): Promise<string> => {
        try {
          return Buffer.from(await readBounded(resolve(folder, name), certificateBytesMax)).toString(
            "latin1",
          );
        } catch (error) {
          problems.push(problemAt([...path, field], messageOf(error)));
          return "";
        }
      };
      const chainPem = await read(certificate, "certificate");
      certificates.push({ file: resolve(folder, certificate), chainPem, keyPem: await read(key, "key") });
    }
    const { host, port } = hostAndPort(address);
    listeners.push({
      host: host.replace(/^\[(.*)\]$/, "$1"),
      port,
      certificates,
      ...(redirectToHttpsPort === undefined ? {} : { redirectToHttpsPort }),
    });
  }
  if (problems.length > 0) throw unreadable(problems);
  return listeners;
}

async function readBounded(file: string, bytesMax: number): Promise<Uint8Array> {
  try {
    const found = await stat(file);
    if (!found.isFile()) throw new CliError(exitCode.unreadable, `${file} is no file`);
    if (found.size > bytesMax)
      throw new CliError(exitCode.unreadable, `${file} is larger than ${bytesMax} bytes`);
    return await readFile(file);
  } catch (cause) {
    if (cause instanceof CliError) throw cause;
    if (codeOf(cause) === "ENOENT") throw new CliError(exitCode.notFound, `no file ${file}`);
    throw new CliError(exitCode.unreadable, `cannot read ${file}`, { cause });
  }
}

function unreadable(problems: readonly Problem[]): CliError {
  return new CliError(exitCode.unreadable, problems.map(formatProblem).join("\n"));
}
