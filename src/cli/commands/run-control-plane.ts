import { hostAndPort } from "../../base/host-and-port.ts";
import { openControlPlane, openLogFiles } from "../../control-plane/index.ts";
import { openFileKeyStore } from "../../storage/index.ts";
import { generationOf, parseVerifierKey } from "../../trust-log/index.ts";
import { CliError, exitCode } from "../exit-codes.ts";
import { meshDirectory, requireKnownDomain } from "../mesh-directory.ts";
import { explainListening } from "../port-in-use.ts";
import { announceTarget } from "../scrape-targets.ts";
import { openLog, randomBytes, systemClock } from "../system.ts";
import { runProcess } from "./run-process.ts";

/** The control plane of a mesh directory. */
export async function runControlPlane(options: {
  dir: string;
  listen: string;
  adminListen?: string;
  svidLifetime: number;
  intermediateLifetime?: number;
  logLevel: string;
}): Promise<void> {
  const directory = meshDirectory(options.dir);
  const domain = await requireKnownDomain(directory);
  const logKey = parseVerifierKey(domain.logKey);
  if (!logKey.ok)
    throw new CliError(exitCode.unreadable, `the log key in ${directory.path}/domain.json is damaged`);
  await runProcess(async (stack, { broken }) => {
    const storage = stack.use(await openLogFiles(directory.controlPlaneLog));
    const controlPlane = stack.use(
      await openControlPlane({
        trustDomain: domain.trustDomain,
        storage,
        keyStore: await openFileKeyStore(directory.controlPlaneKeys),
        tilesFolder: directory.tiles,
        proposalsFolder: directory.proposals,
        listen: hostAndPort(options.listen),
        ...(options.adminListen === undefined ? {} : { health: hostAndPort(options.adminListen) }),
        svidLifetimeSeconds: options.svidLifetime,
        ...(options.intermediateLifetime === undefined
          ? {}
          : { intermediateLifetimeSeconds: options.intermediateLifetime }),
        generation: generationOf(logKey.value),
        clock: systemClock,
        randomBytes,
        log: openLog("control-plane", options.logLevel),
        broken,
      }).catch(async (error: unknown) => {
        throw await explainListening(error, options.listen, "--listen");
      }),
    );
    const health = controlPlane.healthAddress;
    stack.use(await announceTarget(directory, { process: "control-plane", address: health }));
    return { admin: controlPlane.address, console: controlPlane.consoleAddress, health };
  });
}
