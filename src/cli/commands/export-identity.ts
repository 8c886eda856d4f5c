import { spawn } from "node:child_process";
import { resolve } from "node:path";
import { hostAndPort } from "../../base/host-and-port.ts";
import { openExport } from "../../data-plane/index.ts";
import { foreignEnvironment } from "../compile-cache.ts";
import { CliError, exitCode } from "../exit-codes.ts";
import { ExportFolder } from "../export-folder.ts";
import { meshDirectory, requireKnownDomain } from "../mesh-directory.ts";
import { talk } from "../output.ts";
import { openProxyOptions } from "../proxy-process.ts";
import { announceTarget } from "../scrape-targets.ts";
import { runProcess } from "./run-process.ts";
import { declareService, requireServiceName } from "./run-service.ts";

const reloadMillisMax = 30_000;

/** What `troth identity export` takes. */
export interface ExportIdentityOptions {
  readonly dir: string;
  readonly service: string;
  readonly out: string;
  /** host:port of the peer's listener for the mesh. */
  readonly advertise?: string;
  /** Run by the shell whenever the files are others. */
  readonly exec?: string;
  readonly adminListen?: string;
  readonly logLevel: string;
}

/** `troth identity export`: an instance for a proxy that is not Troth's, with its credentials as files, until it is stopped. */
export async function exportIdentity(options: ExportIdentityOptions): Promise<void> {
  const { advertise, exec } = options;
  const directory = meshDirectory(options.dir);
  await requireKnownDomain(directory);
  const service = requireServiceName(options.service);
  const peer = advertise === undefined ? undefined : peerOf(advertise);
  await declareService(directory, service, { isCalled: peer !== undefined });
  await runProcess(async (stack, { revoked }) => {
    const folder = stack.use(await ExportFolder.open(resolve(options.out)));
    const proxy = await openProxyOptions(directory, stack, { ...options, role: "export", service, revoked });
    const { instance, log } = proxy;
    const opened = stack.use(
      await openExport({
        ...proxy,
        ...(peer === undefined ? {} : { peer }),
        save: async (credentials) => {
          await folder.write(credentials);
          log.info("credentials written", { serial: credentials.serial });
          if (exec === undefined) return;
          const code = await reload(exec, folder.path);
          if (code !== 0) log.warn("the reload command failed", { code });
        },
      }),
    );
    const address = opened.adminAddress;
    stack.use(await announceTarget(directory, { process: "export", address, service, instance }));
    process.stdout.write(
      `ready: svid.pem, svid.pem.key, bundle.pem and crl.pem of ${service} are in ${folder.path}\n`,
    );
    talk("  the private key is outside of Troth now: whoever can read it is this service");
    if (peer !== undefined)
      talk(`  callers of ${service} are sent to ${advertise} while it takes connections`);
    return { admin: address, health: address, instance };
  });
}

function peerOf(address: string): { readonly host: string; readonly port: number } {
  try {
    return hostAndPort(address);
  } catch (cause) {
    throw new CliError(exitCode.usage, `--advertise takes host:port, not "${address}"`, { cause });
  }
}

/** Runs the user's command; its exit code, or -1 where it has none. */
function reload(command: string, folder: string): Promise<number> {
  return new Promise((done) => {
    const child = spawn("sh", ["-c", command], {
      stdio: ["ignore", "inherit", "inherit"],
      env: { ...foreignEnvironment(), TROTH_EXPORT: folder },
      timeout: reloadMillisMax,
    });
    child.once("error", () => done(-1));
    child.once("exit", (code) => done(code ?? -1));
  });
}
