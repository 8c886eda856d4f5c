import { randomBytes } from "node:crypto";
import { once } from "node:events";
import { setTimeout as sleep } from "node:timers/promises";
import { type Client, createClient } from "@connectrpc/connect";
import { z } from "zod";
import { bytesOfBase64 } from "../../src/base/bytes.ts";
import { buildCertificateRequest, generateP256, importPrivateKey } from "../../src/crypto/index.ts";
import { Mesh, protocolVersion } from "../../src/protocol/index.ts";
import { openRpcConnection, tlsIdentityOf } from "../../src/transport/index.ts";

// The agents of a mesh, in one process: each follows the log over its own connection. Told by a
// first message who they are, and by others a number and a pace, they ask for as many certificates, so many a second in even steps or, without a pace, so many at a time.
const setup = z.object({
  port: z.number(),
  nodes: z.array(z.object({ key: z.string(), instances: z.array(z.string()) })),
  service: z.string(),
  auditKey: z.string(),
});
const order = z.object({ count: z.number(), perSecond: z.number().optional(), atOnce: z.number() });

process.on("disconnect", () => process.exit());
const [first]: unknown[] = await once(process, "message");
const { port, nodes, service, auditKey } = setup.parse(first);
const agents = await Promise.all(
  nodes.map(async ({ key, instances }) => {
    const identity = tlsIdentityOf(importPrivateKey(bytesOfBase64(key) ?? new Uint8Array(0)), randomBytes);
    const connection = await openRpcConnection({ kind: "tls", host: "127.0.0.1", port, identity });
    const mesh = createClient(Mesh, connection.transport);
    await follow(mesh);
    return { mesh, instances };
  }),
);
let asked = 0;

process.on("message", (message) => void ask(order.parse(message)).then((said) => process.send?.(said)));
process.send?.({ kind: "ready" });

/** Follows the log; resolved once there is something of it. */
async function follow(mesh: Client<typeof Mesh>): Promise<void> {
  const updates = mesh.follow({ protocolVersion, acceptsSnapshot: true })[Symbol.asyncIterator]();
  await updates.next();
  const goOn = async (): Promise<void> => {
    while ((await updates.next()).done !== true);
  };
  void goOn().catch(() => {});
}

async function ask({ count, perSecond, atOnce }: z.infer<typeof order>): Promise<object> {
  const requests = Array.from({ length: count }, () => buildCertificateRequest(generateP256().privateKey));
  const begun = performance.now();
  let failures = 0;
  let last = "";
  const one = async (at: number): Promise<void> => {
    const agent = agents[asked % agents.length];
    const instance = agent?.instances[Math.floor(asked / agents.length) % agent.instances.length] ?? "";
    asked += 1;
    try {
      const certificateRequest = requests[at] ?? new Uint8Array(0);
      await agent?.mesh.issueSvid({ instance, service, certificateRequest, auditKey });
    } catch (error) {
      failures += 1;
      last = String(error);
    }
  };
  if (perSecond === undefined) {
    let next = 0;
    const worker = async (): Promise<void> => {
      while (next < count) await one(next++);
    };
    await Promise.all(Array.from({ length: atOnce }, worker));
  } else {
    const waiting: Promise<void>[] = [];
    for (let at = 0; at < count; at += 1) {
      await sleep(Math.max(0, begun + (at * 1000) / perSecond - performance.now()));
      waiting.push(one(at));
    }
    await Promise.all(waiting);
  }
  return { kind: "asked", failures, last, seconds: (performance.now() - begun) / 1000 };
}
