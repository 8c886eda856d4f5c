import http from "node:http";
import tls from "node:tls";
import { hostAndPort } from "../../base/host-and-port.ts";
import {
  buildCertificateRequest,
  generateP256,
  parseCertificateRequest,
  pemOfPrivateKey,
} from "../../crypto/index.ts";
import { createRoot, issueSvid, parseSpiffeId, parseTrustDomain } from "../../identity/index.ts";
import type { FollowerStatus } from "../../protocol/index.ts";
import { pemOfCertificate } from "../../transport/index.ts";
import { CliError, exitCode } from "../exit-codes.ts";
import type { MeshDirectory } from "../mesh-directory.ts";
import type { OperatorClient } from "../operator-client.ts";
import { randomBytes, systemClock } from "../system.ts";
import { forgePrefix, hijackRoute } from "./prefix-attacks.ts";

const attackTimeoutMillis = 5_000;

/** What came of an attack. */
export interface AttackOutcome {
  readonly wasStopped: boolean;
  /** What the attacker saw, and what the mesh noted. */
  readonly observed: string;
}

/** Something an attacker would do. */
export interface Attack {
  readonly name: string;
  readonly story: string;
  readonly run: (client: OperatorClient, directory: MeshDirectory) => Promise<AttackOutcome>;
}

/** The attacks that ship with the demo. */
export const attacks: readonly Attack[] = [
  {
    name: "mallory-reads-ledger",
    story:
      "a neighbour with a valid identity but no rights asks the ledger for its entries through her own sidecar",
    run: async (client) => {
      const { outboundAddress } = await running(client, "/shop/mallory");
      const answer = await get(`http://${outboundAddress}/entries`, { host: "ledger.shop.mesh" });
      return { wasStopped: answer.includes('"reason":"no-rule"'), observed: answer.trim().slice(0, 400) };
    },
  },
  {
    name: "no-certificate",
    story: "somebody connects to the ledger's mesh port without a certificate",
    run: async (client) => refusedByLedger(client, {}, "no-certificate"),
  },
  {
    name: "other-authority",
    story: "somebody shows the ledger a payments certificate from a CA of her own",
    run: async (client) =>
      refusedByLedger(client, forgedPayments(client.domain.trustDomain), "untrusted-issuer"),
  },
  {
    name: "route-hijack",
    story:
      "a registered instance of a neighbour says that it serves the ledger's name, to be sent its callers",
    run: hijackRoute,
  },
  {
    name: "forged-prefix",
    story: "somebody who passes on what payments' proxy says of itself adds a prefix to it",
    run: forgePrefix,
  },
];

interface Credentials {
  readonly cert?: string;
  readonly key?: string;
}

/** Tries a GET on the ledger's mesh listener and looks for the refusal in the ledger's own metrics. */
async function refusedByLedger(
  client: OperatorClient,
  credentials: Credentials,
  reason: string,
): Promise<AttackOutcome> {
  const ledger = await running(client, "/shop/ledger");
  const before = await refusals(ledger.adminAddress, reason);
  const got = await askOverTls(ledger.address, credentials);
  const after = await refusals(ledger.adminAddress, reason);
  return {
    wasStopped: got === "" && after > before,
    observed:
      got === ""
        ? `the connection was closed without an answer; the ledger's proxy counted it as ${reason}`
        : `the ledger answered: ${got.slice(0, 200)}`,
  };
}

async function running(client: OperatorClient, service: string): Promise<FollowerStatus> {
  const { followers } = await client.admin.getStatus({});
  const found = followers.find((follower) => follower.service === service);
  if (found === undefined)
    throw new CliError(exitCode.notFound, `${service} is not running; start the demo with npm start`);
  return found;
}

function askOverTls(address: string, credentials: Credentials): Promise<string> {
  return new Promise((resolve) => {
    let answer = "";
    const socket = tls.connect({
      ...hostAndPort(address),
      ...credentials,
      rejectUnauthorized: false,
      checkServerIdentity: () => undefined,
    });
    socket.setTimeout(attackTimeoutMillis, () => socket.destroy());
    socket.on("secureConnect", () => socket.write("GET /entries HTTP/1.1\r\nHost: ledger.shop.mesh\r\n\r\n"));
    socket.on("data", (chunk) => {
      answer += chunk.toString("latin1");
    });
    socket.on("error", () => {});
    socket.on("close", () => resolve(answer));
  });
}

/** A certificate that says what payments' says, from a root that nobody trusts. */
function forgedPayments(trustDomainText: string): Credentials {
  const trustDomain = parseTrustDomain(trustDomainText);
  const spiffeId = parseSpiffeId(`spiffe://${trustDomainText}/shop/payments`);
  const { privateKey } = generateP256();
  const proof = parseCertificateRequest(buildCertificateRequest(privateKey));
  if (!trustDomain.ok || !spiffeId.ok || !proof.ok) throw new CliError(exitCode.failed, "cannot forge");
  const world = { clock: systemClock, randomBytes };
  const root = createRoot({ trustDomain: trustDomain.value, privateKey: generateP256().privateKey }, world);
  const svid = issueSvid(root, { proof: proof.value, spiffeId: spiffeId.value }, world);
  if (!svid.ok) throw new CliError(exitCode.failed, `cannot forge: ${svid.reason}`);
  return { cert: svid.value.chain.map(pemOfCertificate).join(""), key: pemOfPrivateKey(privateKey) };
}

async function refusals(adminAddress: string, reason: string): Promise<number> {
  const metrics = await get(`http://${adminAddress}/metrics`);
  const line = metrics
    .split("\n")
    .find(
      (text) =>
        text.startsWith("troth_proxy_refused_connections_total") &&
        text.includes(`reason="${reason}"`) &&
        text.includes('direction="inbound"'),
    );
  return Number(line?.split(" ").at(-1) ?? 0);
}

function get(url: string, headers: http.OutgoingHttpHeaders = {}): Promise<string> {
  return new Promise((resolve, reject) => {
    const request = http.get(url, { timeout: attackTimeoutMillis, headers }, (response) => {
      let body = "";
      response.on("data", (chunk: Buffer) => {
        body += chunk.toString("utf8");
      });
      response.on("end", () => resolve(body));
    });
    request.on("timeout", () => request.destroy(new Error("no answer")));
    request.on("error", reject);
  });
}
