import { spawnSync } from "node:child_process";
import https from "node:https";
import { setTimeout as sleep } from "node:timers/promises";
import type { TLSSocket } from "node:tls";
import { buildGoPeer, missingForGoPeer } from "../../apparatus/go-peer.ts";
import { runCommand } from "../../apparatus/running-command.ts";
import { openGatewayProcess, type RunningGateway } from "../../apparatus/running-gateway.ts";
import { apparatus, openMesh, openService, troth } from "../../apparatus/running-mesh.ts";
import { temporaryFolder } from "../../contracts/temporary-folder.ts";
import { type Claim, failed, ok, skipped } from "../claim.ts";

const services = { "shop.example": "/proof/web", "api.example": "/proof/api" } as const;
const hosts = Object.keys(services);
const goRequests = 200;
const loadRequests = 2_000;
const replacements = 3;
const settleMillis = 1_500;
const commandMillisMax = 60_000;
/** What a client would say to be taken for somebody else. */
const forged = {
  "X-Forwarded-For": "6.6.6.6",
  "X-Forwarded-Client-Cert": "URI=spiffe://mesh.internal/proof/admin",
  "X-Forwarded-User": "root",
  "X-Real-IP": "6.6.6.6",
  Forwarded: "for=6.6.6.6",
  "Troth-Request-Token": "forged",
} as const;

export const claim: Claim = {
  text: "curl, OpenSSL, h2load and Go reach two services through a gateway over TLS, no forged header gets through, what no route names is not there, and certificates are replaced under load without a failed request",
  run: async () => {
    const missing = missingPrograms();
    if (missing !== undefined) return skipped(missing);
    await using folder = await temporaryFolder();
    await using mesh = await openMesh({ kind: "up" });
    const building = buildGoPeer("edge-client", folder.path);
    const app = { command: apparatus("header-echo-app.ts") };
    await using _web = await openService(mesh, "/proof/web", app);
    await using _api = await openService(mesh, "/proof/api", app);
    await using _secret = await openService(mesh, "/proof/secret", app);
    await using gateway = await openGatewayProcess(mesh, folder.path, services);
    for (const service of ["/proof/web", "/proof/api", "/proof/secret"])
      await troth(mesh.path, "allow", "/edge/gateway", service);

    const wrong = [
      ...(await withCurl(gateway)),
      ...(await withOpenssl(gateway)),
      ...(await withGo(gateway, await building)),
      ...(await withH2load(gateway)),
    ];
    const replaced = await replaceUnderLoad(gateway);
    const figure = [
      `curl over HTTP/1.1 and HTTP/2 with ${Object.keys(forged).length} forged headers, none of which arrived`,
      `${hosts.length * goRequests} requests of Go over HTTP/2 and ${loadRequests} of h2load, all answered`,
      `421 for 3 hosts that no route names, one of them a service's name in the mesh`,
      `${replaced.requests} connections while ${replacements} certificates were replaced, ${replaced.failures.length} failed, ${replaced.shown} certificates seen`,
    ].join("; ");
    wrong.push(...replaced.failures);
    if (replaced.shown !== replacements + 1) wrong.push(`${replaced.shown} certificates were shown`);
    return wrong.length === 0 ? ok(figure) : failed(wrong.slice(0, 5).join("; "));
  },
};

function missingPrograms(): string | undefined {
  for (const [program, howToGet] of [
    ["curl", "apt-get install curl"],
    ["openssl", "apt-get install openssl"],
    ["h2load", "apt-get install nghttp2-client"],
  ] as const)
    if (spawnSync(program, ["--version"]).error !== undefined) return `no ${program}; ${howToGet}`;
  return missingForGoPeer("edge-client");
}

async function withCurl(gateway: RunningGateway): Promise<string[]> {
  const wrong: string[] = [];
  const headers = Object.entries(forged).flatMap(([name, value]) => ["-H", `${name}: ${value}`]);
  for (const protocol of ["--http1.1", "--http2"])
    for (const [host, service] of Object.entries(services)) {
      const { stdout } = await curl(gateway, host, [protocol, ...headers, "-d", "body"]);
      const said: { service?: string; headers?: Record<string, string> } = parse(stdout);
      const { headers: seen = {} } = said;
      if (said.service !== service) wrong.push(`${host} over ${protocol} was answered with ${stdout}`);
      if (/6\.6\.6\.6|root|admin|forged/.test(JSON.stringify(seen)))
        wrong.push(`a forged header got through: ${stdout}`);
      if (seen["x-forwarded-for"] !== "127.0.0.1" || seen["x-forwarded-proto"] !== "https")
        wrong.push(`the client's address is missing: ${stdout}`);
      if (seen["x-forwarded-client-cert"]?.endsWith("/edge/gateway") !== true)
        wrong.push(`the caller is not the gateway: ${stdout}`);
    }
  for (const other of ["secret.proof.mesh", "nobody.example", "127.0.0.1"]) {
    const { stdout } = await curl(gateway, "shop.example", ["-H", `Host: ${other}`, "-w", "%{http_code}"]);
    if (stdout !== '{"status":421}\n421') wrong.push(`Host ${other} was answered with ${stdout}`);
  }
  return wrong;
}

function curl(
  gateway: RunningGateway,
  host: string,
  args: readonly string[],
): Promise<{ readonly stdout: string }> {
  const { port, certificateFile } = gateway;
  const address = `${host}:${port}:127.0.0.1`;
  const all = ["-s", "--cacert", certificateFile, "--resolve", address, ...args, `https://${host}:${port}/`];
  return runCommand("curl", all, { timeoutMillis: commandMillisMax });
}

async function withOpenssl({ port, certificateFile }: RunningGateway): Promise<string[]> {
  const connect = [
    "s_client",
    "-connect",
    `127.0.0.1:${port}`,
    "-servername",
    "api.example",
    "-CAfile",
    certificateFile,
  ];
  const verified = await runCommand(
    "openssl",
    [...connect, "-verify_return_error", "-alpn", "h2", "-brief"],
    {
      timeoutMillis: commandMillisMax,
    },
  );
  const said = `${verified.stdout}${verified.stderr}`;
  return /TLSv1\.3/.test(said) && /Verification: OK/.test(said)
    ? []
    : [`openssl says: ${said.slice(0, 300)}`];
}

async function withGo({ port, certificateFile }: RunningGateway, client: string): Promise<string[]> {
  const args = [`127.0.0.1:${port}`, certificateFile, String(goRequests), ...hosts];
  const { stdout } = await runCommand(client, args, { timeoutMillis: commandMillisMax });
  const expected = hosts.map((host) => `${host} ${goRequests} HTTP/2.0 200\n`).join("");
  return stdout === expected ? [] : [`Go says: ${stdout}`];
}

async function withH2load({ port }: RunningGateway): Promise<string[]> {
  const address = [`--connect-to=127.0.0.1:${port}`, `https://shop.example:${port}/`];
  const { stdout } = await runCommand(
    "h2load",
    ["-n", String(loadRequests), "-c", "8", "-m", "8", ...address],
    { timeoutMillis: commandMillisMax },
  );
  return stdout.includes(`${loadRequests} succeeded, 0 failed`) ? [] : [`h2load says: ${stdout.slice(-400)}`];
}

/** Every request has a connection of its own, so each sees the certificate of that moment. */
async function replaceUnderLoad(gateway: RunningGateway): Promise<{
  readonly requests: number;
  readonly failures: readonly string[];
  readonly shown: number;
}> {
  const ca = [gateway.certificate.chainPem];
  const shown = new Set<string>();
  const failures: string[] = [];
  const running = new AbortController();
  let requests = 0;
  const ask = (): Promise<void> =>
    new Promise((resolve) => {
      const request = https.request({
        host: "127.0.0.1",
        port: gateway.port,
        servername: "shop.example",
        headers: { host: "shop.example" },
        ca,
        agent: false,
      });
      request.once("socket", (socket: TLSSocket) =>
        socket.once("secureConnect", () => shown.add(socket.getPeerCertificate().fingerprint256)),
      );
      request.once("response", (response) => {
        if (response.statusCode !== 200) failures.push(`status ${response.statusCode}`);
        response.resume().once("close", resolve);
      });
      request.once("error", (error) => {
        failures.push(error.message);
        resolve();
      });
      request.end();
    });
  const lane = async (): Promise<void> => {
    while (!running.signal.aborted) {
      requests += 1;
      await ask();
    }
  };
  const lanes = Promise.all(Array.from({ length: 4 }, lane));
  for (let round = 0; round < replacements; round += 1) {
    // Clients trust it before the gateway can show it.
    const next = await gateway.replaceCertificate(({ chainPem }) => ca.push(chainPem));
    const deadline = performance.now() + 10_000;
    while (!shown.has(next.fingerprint256) && performance.now() < deadline) await sleep(50);
    await sleep(settleMillis / replacements);
  }
  running.abort();
  await lanes;
  return { requests, failures, shown: shown.size };
}

function parse(text: string): object {
  try {
    const value: unknown = JSON.parse(text);
    return typeof value === "object" && value !== null ? value : {};
  } catch {
    return {};
  }
}
