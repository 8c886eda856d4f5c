import { cp, mkdir, rm, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { createClient } from "@connectrpc/connect";
import { afterEach, beforeEach, describe, expect, test, vi } from "vitest";
import { temporaryFolder } from "../../test/contracts/temporary-folder.ts";
import {
  foundSmallDomain,
  operatorEntry,
  putNode,
  putService,
  type RunningControlPlane,
  runControlPlane,
  type SmallDomain,
} from "../../test/fakes/small-domain.ts";
import { serviceBody, signerNamed } from "../../test/fakes/small-trust-log.ts";
import { randomBytes, systemClock } from "../cli/system.ts";
import { Admin, Mesh, protocolVersion } from "../protocol/index.ts";
import { openRpcConnection, tlsIdentityOf } from "../transport/index.ts";
import { type NoteSigner, signCheckpoint } from "../trust-log/index.ts";

let domain: SmallDomain;
let node: NoteSigner;
let stack: AsyncDisposableStack;
let newest: { readonly size: number; readonly checkpoint: Uint8Array };

const log = (): string => join(domain.folder, "log");

/** A domain whose disk holds an older copy of its log than the last checkpoint that was signed. */
beforeEach(async () => {
  stack = new AsyncDisposableStack();
  domain = await foundSmallDomain(stack.use(await temporaryFolder()).path, systemClock);
  {
    await using running = await runControlPlane(domain, systemClock);
    node = await putNode(domain, running.writer, "edge-1");
  }
  await cp(log(), `${log()}.old`, { recursive: true });
  {
    await using running = await runControlPlane(domain, systemClock);
    await showTo(running, new Uint8Array(0));
    for (const name of ["/a", "/b"]) await putService(domain, running.writer, name);
    newest = running.writer.newest ?? { size: 0, checkpoint: new Uint8Array(0) };
  }
  await rm(log(), { recursive: true });
  await cp(`${log()}.old`, log(), { recursive: true });
  await rm(join(domain.folder, "tiles"), { recursive: true });
});
afterEach(() => stack.disposeAsync());

/** Follows as a node does that keeps this checkpoint, for a moment. */
async function showTo(running: RunningControlPlane, checkpoint: Uint8Array, as = node): Promise<void> {
  const identity = tlsIdentityOf(as.privateKey, randomBytes);
  using connection = await openRpcConnection({
    kind: "tls",
    host: "127.0.0.1",
    port: running.port,
    identity,
  });
  for await (const _ of createClient(Mesh, connection.transport).follow({ protocolVersion, checkpoint }))
    break;
}

async function alarmsOf(running: RunningControlPlane): Promise<readonly string[]> {
  const identity = tlsIdentityOf(domain.operator.privateKey, randomBytes);
  using connection = await openRpcConnection({
    kind: "tls",
    host: "127.0.0.1",
    port: running.port,
    identity,
  });
  const { alarms } = await createClient(Admin, connection.transport).getStatus({});
  return alarms.map(({ reason, detail }) => `${reason}: ${detail}`);
}

function append({ writer }: RunningControlPlane, name = "/other"): ReturnType<typeof writer.submit> {
  return writer.submit([
    operatorEntry(domain, writer.state, { kind: "service.put", body: serviceBody(name) }),
  ]);
}

describe("a control plane whose disk went back", () => {
  test("orders and signs nothing once a node shows what was signed, and says what to do", async () => {
    const running = stack.use(await runControlPlane(domain, systemClock));
    const before = running.writer.newest;
    const waiting = append(running);

    await showTo(running, newest.checkpoint);

    expect(await waiting).toMatchObject({ ok: false, reason: "log-rolled-back" });
    expect(await append(running)).toMatchObject({ ok: false, reason: "log-rolled-back" });
    expect(running.writer.newest).toBe(before);
    await showTo(running, newest.checkpoint);
    expect(await alarmsOf(running)).toEqual([
      expect.stringMatching(
        new RegExp(
          `^log-rolled-back: .*from ${newest.size} entries, .* to ${before?.size}; .*troth log recover --from`,
        ),
      ),
    ]);
  });

  test("orders nothing before every node has shown what it keeps", async () => {
    const running = stack.use(await runControlPlane(domain, systemClock));
    let isOrdered = false;
    const waiting = append(running).then(() => (isOrdered = true));
    await new Promise((resolve) => setTimeout(resolve, 300));
    expect(isOrdered).toBe(false);

    await showTo(running, new Uint8Array(0));

    await waiting;
  });

  test("hears it also from a node that had not joined yet on the disk's copy", async () => {
    const running = stack.use(await runControlPlane(domain, systemClock));

    await expect(showTo(running, newest.checkpoint, signerNamed("joined-later"))).rejects.toThrow(
      "unknown-node",
    );

    expect(await append(running)).toMatchObject({ ok: false, reason: "log-rolled-back" });
    expect((await alarmsOf(running)).at(-1)).toMatch(
      /^log-rolled-back: .*an agent that this log does not know/,
    );
  });

  test("does not wait for ever for a node that does not come", async () => {
    const running = stack.use(await runControlPlane(domain, systemClock));

    expect(await append(running)).toMatchObject({ ok: true });
  });

  test("knows it from what it has published, before any node", async () => {
    const tiles = join(domain.folder, "tiles");
    await mkdir(tiles, { recursive: true });
    await writeFile(join(tiles, "checkpoint"), newest.checkpoint);

    const running = stack.use(await runControlPlane(domain, systemClock));

    expect(await append(running)).toMatchObject({ ok: false, reason: "log-rolled-back" });
    expect((await alarmsOf(running))[0]).toMatch(/^log-rolled-back: .*published tiles/);
  });
});

describe("the log goes on, whatever a node shows", () => {
  test.each([
    ["a checkpoint that it signed itself", () => signedBy(node)],
    [
      "a checkpoint by another key under the log's name",
      () => signedBy(signerNamed("example.org/trust-log")),
    ],
    [
      "a larger tree of a generation that is over, or not begun",
      () => signedBy({ ...domain.keys.log, name: "example.org/trust-log-2" }),
    ],
    ["what is no checkpoint", () => new Uint8Array(80)],
  ])("%s", async (_, checkpoint) => {
    const running = stack.use(await runControlPlane(domain, systemClock));

    await showTo(running, checkpoint());

    expect(await append(running)).toMatchObject({ ok: true });
    expect(await alarmsOf(running)).toEqual([]);
  });

  function signedBy(signer: NoteSigner): Uint8Array {
    return signCheckpoint({ size: 1_000_000, root: new Uint8Array(32) }, signer);
  }

  test("another tree of a size that it has too is an alarm: log-forked", async () => {
    const running = stack.use(await runControlPlane(domain, systemClock));

    await showTo(running, signCheckpoint({ size: 2, root: new Uint8Array(32) }, domain.keys.log));

    expect(await append(running)).toMatchObject({ ok: true });
    await vi.waitFor(async () => expect((await alarmsOf(running))[0]).toMatch(/^log-forked: edge-1 shows/));
  });
});
