import { readFile } from "node:fs/promises";
import { hostAndPort } from "../../base/host-and-port.ts";
import {
  type ControlPlaneOptions,
  type EndpointProof,
  openControlPlane,
  openLogFiles,
} from "../../control-plane/index.ts";
import { parseSpiffeId } from "../../identity/index.ts";
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
  bundleEndpoint?: string;
  bundleEndpointCertificate?: string;
  bundleEndpointKey?: string;
  federationCa?: string;
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
        vulnerabilityFeed: directory.vulnerabilities,
        listen: hostAndPort(options.listen),
        ...(options.adminListen === undefined ? {} : { health: hostAndPort(options.adminListen) }),
        svidLifetimeSeconds: options.svidLifetime,
        ...(options.intermediateLifetime === undefined
          ? {}
          : { intermediateLifetimeSeconds: options.intermediateLifetime }),
        ...(await federationOf(domain.trustDomain, options)),
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

/** Where the bundle endpoint is to be and how it proves itself, and whom others' endpoints may have for a CA. */
async function federationOf(
  trustDomain: string,
  options: Parameters<typeof runControlPlane>[0],
): Promise<Pick<ControlPlaneOptions, "bundleEndpoint" | "federationAuthorities">> {
  const { bundleEndpoint, bundleEndpointCertificate, bundleEndpointKey, federationCa } = options;
  const authorities =
    federationCa === undefined ? {} : { federationAuthorities: await readFile(federationCa, "utf8") };
  if (bundleEndpoint === undefined) return authorities;
  const spiffeId = parseSpiffeId(`spiffe://${trustDomain}/troth/bundle-endpoint`);
  if (!spiffeId.ok) throw new CliError(exitCode.failed, `${trustDomain}: ${spiffeId.reason}`);
  const proof: EndpointProof =
    bundleEndpointCertificate === undefined || bundleEndpointKey === undefined
      ? { profile: "https_spiffe", spiffeId: spiffeId.value }
      : { profile: "https_web", certificateFile: bundleEndpointCertificate, keyFile: bundleEndpointKey };
  return { ...authorities, bundleEndpoint: { listen: hostAndPort(bundleEndpoint), proof } };
}
