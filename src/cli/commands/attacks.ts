import http from "node:http";
import { setTimeout as sleep } from "node:timers/promises";
import tls from "node:tls";
import { hostAndPort } from "../../base/host-and-port.ts";
import {
  buildCertificateRequest,
  generateP256,
  parseCertificateRequest,
  pemOfPrivateKey,
} from "../../crypto/index.ts";
import { type CalledProxy, type HandMember, openHandMember } from "../../data-plane/index.ts";
import { createRoot, issueSvid, parseSpiffeId, parseTrustDomain } from "../../identity/index.ts";
import type { FollowerStatus } from "../../protocol/index.ts";
import { pemOfCertificate } from "../../transport/index.ts";
import { CliError, exitCode } from "../exit-codes.ts";
import type { MeshDirectory } from "../mesh-directory.ts";
import type { OperatorClient } from "../operator-client.ts";
import { openProxyOptions } from "../proxy-process.ts";
import { askToReplace, findRuns } from "../run-socket.ts";
import { randomBytes, systemClock } from "../system.ts";
import { type TokenAttack, tokenAttacks } from "../token-attacks.ts";
import { forgePrefix, hijackRoute } from "./prefix-attacks.ts";

const attackTimeoutMillis = 5_000;
const lookAgainMillis = 100;
/** What payments books with the ledger. */
const charge = {
  orderId: "attack",
  amountCents: 100,
  currency: "EUR",
  region: "EU",
  cardNumber: "4111111111111111",
  cardHolder: "Mallory",
  email: "mallory@example.com",
} as const;
/** Connections of the ledger's old proxy get no longer than this. */
const replacedDrainSeconds = 5;

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
  readonly run: (ground: AttackGround) => Promise<AttackOutcome>;
}

/** The attacks that ship with the demo. */
export const attacks: readonly Attack[] = [
  {
    name: "mallory-reads-ledger",
    story:
      "a neighbour with a valid identity but no rights asks the ledger for its entries through her own sidecar",
    run: async ({ client }) => {
      const { outboundAddress } = await running(client, "/shop/mallory");
      const answer = await get(`http://${outboundAddress}/entries`, { host: "ledger.shop.mesh" });
      return { wasStopped: answer.includes('"reason":"no-rule"'), observed: answer.trim().slice(0, 400) };
    },
  },
  {
    name: "no-certificate",
    story: "somebody connects to the ledger's mesh port without a certificate",
    run: async ({ client }) => refusedByLedger(client, {}, "no-certificate"),
  },
  {
    name: "other-authority",
    story: "somebody shows the ledger a payments certificate from a CA of her own",
    run: async ({ client }) =>
      refusedByLedger(client, forgedPayments(client.domain.trustDomain), "untrusted-issuer"),
  },
  {
    name: "route-hijack",
    story:
      "a registered instance of a neighbour says that it serves the ledger's name, to be sent its callers",
    run: ({ client, directory }) => hijackRoute(client, directory),
  },
  {
    name: "forged-prefix",
    story: "somebody who passes on what mallory's proxy says of itself adds a prefix to it",
    run: ({ client, directory }) => forgePrefix(client, directory),
  },
  ...tokenAttacks.map((attack) => ({
    name: attack.name,
    story: attack.story,
    run: async (ground: AttackGround) => attackWithTokens(attack, ground),
  })),
];

/** The running mesh, and the members of it that an attacker has in hand; they are gone when it is closed. */
export class AttackGround implements AsyncDisposable {
  readonly client: OperatorClient;
  readonly directory: MeshDirectory;
  readonly #stack = new AsyncDisposableStack();
  readonly #members = new Map<string, HandMember>();

  constructor(client: OperatorClient, directory: MeshDirectory) {
    this.client = client;
    this.directory = directory;
  }

  /** An instance of a service that does what the attacker likes. */
  async member(service: string): Promise<HandMember> {
    const known = this.#members.get(service);
    if (known !== undefined) return known;
    const process = { role: "export", service, logLevel: "fatal", revoked: () => {} } as const;
    const options = await openProxyOptions(this.directory, this.#stack, process);
    const member = this.#stack.use(await openHandMember(options));
    this.#members.set(service, member);
    return member;
  }

  /** Where a service's proxy takes calls of the mesh. */
  async placeOf(service: string): Promise<CalledProxy> {
    return { service, address: (await running(this.client, service)).address };
  }

  /** Has another proxy take the place of a service's. */
  async restart(service: string): Promise<CalledProxy> {
    const run = (await findRuns(this.directory)).find((one) => one.service === service);
    if (run === undefined) throw new CliError(exitCode.notFound, `${service} was not started by troth run`);
    const { instance } = await askToReplace(run, replacedDrainSeconds);
    return { service, address: await addressOf(this.client, instance) };
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.#stack.disposeAsync();
  }
}

async function attackWithTokens(attack: TokenAttack, ground: AttackGround): Promise<AttackOutcome> {
  const replies = await attack.run({
    victim: await ground.member("/shop/payments"),
    thief: await ground.member("/shop/mallory"),
    callee: await ground.placeOf("/shop/ledger"),
    other: await ground.placeOf("/shop/checkout"),
    request: { method: "POST", path: "/entries", body: JSON.stringify(charge) },
    restart: () => ground.restart("/shop/ledger"),
  });
  const controls = replies.slice(0, -1);
  const answer = replies.at(-1);
  const isFair = controls.every(({ status }) => status < 300);
  const honest = isFair
    ? `an honest request got ${controls[0]?.status}`
    : "NOT EVEN AN HONEST REQUEST WAS ANSWERED";
  const isAnswered = answer !== undefined && answer.status < 300;
  const hint = isAnswered ? "; does the ledger want request tokens? See: troth get requesttokenpolicies" : "";
  return {
    wasStopped: isFair && answer?.reason === attack.expected,
    observed: `${honest}, the attack ${answer?.status} ${answer?.reason ?? ""}`.trim() + hint,
  };
}

/** Where a proxy is that has just started. */
async function addressOf(client: OperatorClient, instance: string): Promise<string> {
  const until = performance.now() + attackTimeoutMillis;
  for (;;) {
    const { followers } = await client.admin.getStatus({});
    const found = followers.find((follower) => follower.instance === instance);
    if (found !== undefined && found.address !== "") return found.address;
    if (performance.now() > until) throw new CliError(exitCode.timedOut, `${instance} did not report itself`);
    await sleep(lookAgainMillis);
  }
}

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
  const found = followers.find((one) => one.service === service && one.address !== "");
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
