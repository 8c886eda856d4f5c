import { type ChildProcess, fork } from "node:child_process";
import { once } from "node:events";
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { z } from "zod";
import { base64Of } from "../../../src/base/bytes.ts";
import { randomBytes, systemClock } from "../../../src/cli/system.ts";
import { exportPrivateKey, sha256 } from "../../../src/crypto/index.ts";
import { verifierKeyOf } from "../../../src/trust-log/index.ts";
import { repository } from "../../apparatus/running-mesh.ts";
import {
  foundSmallDomain,
  putNode,
  putService,
  type RunningControlPlane,
  runControlPlane,
  type SmallDomain,
} from "../../fakes/small-domain.ts";
import { signerNamed } from "../../fakes/small-trust-log.ts";
import { type Claim, failed, ok } from "../claim.ts";

const workloads = 10_000;
const nodes = 20;
/** Certificates of an hour are replaced at half their life. */
const perSecond = workloads / 1_800;
const shareMax = 0.1;
const secondsShort = 15;
const secondsFull = 180;
const atOnce = 64;
const manyShort = 1_000;
const manyFull = 8_000;
const firstCount = 100;
const settleMillis = 2_000;
const statementsAtOnce = 250;
const service = "/proof/fleet";

const answer = z.object({ failures: z.number(), last: z.string(), seconds: z.number() });

export const claim: Claim = {
  text: "one control plane replaces the certificates of 10,000 workloads, an hour long each, with less than a tenth of a core",
  run: async (context) => {
    await using stack = new AsyncDisposableStack();
    const folder = await mkdtemp(join(tmpdir(), "troth-issuance-"));
    stack.defer(() => rm(folder, { recursive: true, force: true }));
    const domain = await foundSmallDomain(folder, systemClock);
    const running = stack.use(await runControlPlane(domain, systemClock));
    const fleet = await registerFleet(domain, running);
    context.note(`${workloads} workloads on ${nodes} nodes are registered`);
    const agents = stack.use(await openAgents(running.port, fleet));

    const seconds = context.isFull ? secondsFull : secondsShort;
    const paced = Math.round(seconds * perSecond);
    // Agents that have just come read the whole log first, which is no part of issuing.
    const first = await measured(async () => agents.ask({ count: firstCount, atOnce: 4 }));
    await sleep(settleMillis);
    const steady = await measured(async () => agents.ask({ count: paced, perSecond, atOnce }));
    const many = context.isFull ? manyFull : manyShort;
    const burst = await measured(async () => agents.ask({ count: many, atOnce }));
    const failures = [first, steady, burst].find(({ said }) => said.failures > 0)?.said;
    if (failures !== undefined) return failed(`${failures.failures} were not issued: ${failures.last}`);

    // What the pace would have taken on a machine that keeps it.
    const share = steady.cpuSeconds / (paced / perSecond);
    const figure = [
      `${(100 * share).toFixed(1)} % of a core at ${perSecond.toFixed(1)} SVIDs a second, one at a time, with ${nodes} nodes that follow the log and ${workloads} certificates in it`,
      `${atOnce} at a time, ${Math.round(many / burst.said.seconds)} SVIDs a second and ${Math.round(many / burst.cpuSeconds)} for each second of a core`,
    ].join("; ");
    return share < shareMax ? ok(figure) : failed(figure);
  },
};

interface Fleet {
  readonly auditKey: string;
  readonly nodes: readonly { readonly key: string; readonly instances: readonly string[] }[];
}

interface Agents extends AsyncDisposable {
  readonly ask: (order: {
    readonly count: number;
    readonly perSecond?: number;
    readonly atOnce: number;
  }) => Promise<z.infer<typeof answer>>;
}

/** Puts nodes, and their instances with a certificate each, into the log. */
async function registerFleet(domain: SmallDomain, { writer }: RunningControlPlane): Promise<Fleet> {
  await putService(domain, writer, service);
  const auditKey = verifierKeyOf(signerNamed("example.org/audit/1"));
  const now = Math.floor(systemClock.nowSeconds());
  const fleet: { key: string; instances: string[] }[] = [];
  for (let at = 0; at < nodes; at += 1) {
    const node = `edge-${at}`;
    const { privateKey } = await putNode(domain, writer, node);
    const instances = Array.from({ length: workloads / nodes }, () => crypto.randomUUID());
    const statements = instances.flatMap((instance) => [
      {
        role: "issuer" as const,
        kind: "instance.register" as const,
        body: { instance, service, node, auditKey },
      },
      {
        role: "issuer" as const,
        kind: "svid.issue" as const,
        body: {
          certificate: Buffer.from(sha256(randomBytes(16))).toString("hex"),
          spiffeId: `spiffe://example.org${service}`,
          instance,
          serial: Buffer.from(randomBytes(16)).toString("hex"),
          notBeforeSeconds: now - 10,
          notAfterSeconds: now + 3_600,
        },
      },
    ]);
    for (let from = 0; from < statements.length; from += statementsAtOnce) {
      const written = await writer.write(statements.slice(from, from + statementsAtOnce));
      if (!written.ok) throw new Error(`${written.reason} ${written.detail}`);
    }
    fleet.push({ key: base64Of(exportPrivateKey(privateKey)), instances });
  }
  return { auditKey, nodes: fleet };
}

/** Agents in a process of their own, so that what they take is not counted. */
async function openAgents(port: number, fleet: Fleet): Promise<Agents> {
  const child = fork(join(repository, "test", "apparatus", "svid-asker.ts"));
  child.send({ port, service, ...fleet });
  await once(child, "message");
  return {
    ask: async (order) => {
      const said = nextMessage(child);
      child.send(order);
      return answer.parse(await said);
    },
    [Symbol.asyncDispose]: async () => {
      child.disconnect();
      if (child.exitCode === null) await once(child, "exit");
    },
  };
}

async function nextMessage(child: ChildProcess): Promise<unknown> {
  const [message]: unknown[] = await once(child, "message");
  return message;
}

async function measured<Said>(
  run: () => Promise<Said>,
): Promise<{ readonly said: Said; readonly cpuSeconds: number }> {
  const before = process.cpuUsage();
  const said = await run();
  const { user, system } = process.cpuUsage(before);
  return { said, cpuSeconds: (user + system) / 1e6 };
}
