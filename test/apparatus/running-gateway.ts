import { writeFile } from "node:fs/promises";
import { join } from "node:path";
import { freePort } from "../../src/cli/free-port.ts";
import { type EdgeCertificateForTests, edgeCertificate } from "./edge-certificate.ts";
import type { RunningCommand } from "./running-command.ts";
import { type RunningMesh, startTroth } from "./running-mesh.ts";

const readyMillisMax = 30_000;

/** `troth gateway` with one TLS listener, and the files that it goes by. */
export interface RunningGateway extends AsyncDisposable {
  readonly port: number;
  readonly command: RunningCommand;
  /** Puts another certificate for the same hosts in the place of the one there is; `made` is told of it before. */
  readonly replaceCertificate: (
    made: (certificate: EdgeCertificateForTests) => void,
  ) => Promise<EdgeCertificateForTests>;
  /** The first certificate, in a file that clients name as their CA. */
  readonly certificate: EdgeCertificateForTests;
  readonly certificateFile: string;
}

/** Starts a gateway in front of services, each at a host of its own; its files go into `folder`. */
export async function openGatewayProcess(
  mesh: RunningMesh,
  folder: string,
  services: Readonly<Record<string, string>>,
): Promise<RunningGateway> {
  const hosts = Object.keys(services);
  const port = await freePort();
  const write = async (
    made: (certificate: EdgeCertificateForTests) => void,
  ): Promise<EdgeCertificateForTests> => {
    const next = edgeCertificate(...hosts);
    made(next);
    await writeFile(join(folder, "edge.pem"), next.chainPem);
    await writeFile(join(folder, "edge.key"), next.keyPem);
    return next;
  };
  const certificate = await write(() => {});
  const certificateFile = join(folder, "first.pem");
  await writeFile(certificateFile, certificate.chainPem);
  const routes = Object.entries(services).map(([host, service]) => ({ hosts: [host], service }));
  const gateway = {
    apiVersion: "troth/v1",
    kind: "Gateway",
    metadata: { name: "/edge/gateway" },
    spec: {
      listeners: [{ address: `127.0.0.1:${port}`, tls: [{ certificate: "edge.pem", key: "edge.key" }] }],
      routes,
      limits: { connectionsPerAddressMax: 4_096 },
    },
  };
  const file = join(folder, "gateway.yaml");
  await writeFile(file, JSON.stringify(gateway));
  const command = startTroth(mesh.path, ["gateway", "--file", file]);
  try {
    await command.untilLine(/^ready/, readyMillisMax);
  } catch (error) {
    await command[Symbol.asyncDispose]();
    throw error;
  }
  return {
    port,
    command,
    certificate,
    certificateFile,
    replaceCertificate: write,
    [Symbol.asyncDispose]: () => command[Symbol.asyncDispose](),
  };
}
