import { randomBytes } from "node:crypto";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { createClient } from "@connectrpc/connect";
import { afterAll, beforeAll, expect, it } from "vitest";
import { hexOf } from "../base/bytes.ts";
import { generateEd25519, publicKeyBytes } from "../crypto/index.ts";
import { Admin } from "../protocol/index.ts";
import { openRpcConnection, openRpcServer, peerKey, tlsIdentityOf } from "./index.ts";

const server = generateEd25519();
const client = generateEd25519();
const serverIdentity = tlsIdentityOf(server.privateKey, randomBytes);
const clientIdentity = tlsIdentityOf(client.privateKey, randomBytes);
let folder: string;

beforeAll(() => {
  folder = mkdtempSync(join(tmpdir(), "troth-rpc-"));
});
afterAll(() => rmSync(folder, { recursive: true }));

it("tells each end which key the other holds", async () => {
  const seen: string[] = [];
  await using opened = await openRpcServer(
    {
      kind: "tls",
      host: "127.0.0.1",
      port: 0,
      identity: serverIdentity,
    },
    (router) => {
      router.service(Admin, {
        getStatus: (_request, context) => {
          seen.push(hexOf(context.values.get(peerKey) ?? new Uint8Array(0)));
          return { size: 7n };
        },
      });
    },
  );
  const port = Number(opened.address.split(":")[1]);

  using known = await openRpcConnection({
    kind: "tls",
    host: "127.0.0.1",
    port,
    identity: clientIdentity,
  });
  using stranger = await openRpcConnection({ kind: "tls", host: "127.0.0.1", port });
  const answer = await createClient(Admin, known.transport).getStatus({});
  await createClient(Admin, stranger.transport).getStatus({});

  expect(answer.size).toBe(7n);
  expect(seen[0]).toBe(hexOf(publicKeyBytes(client.publicKey)));
  expect(seen[1]).toBe("");
  expect(known.serverKey).toEqual(publicKeyBytes(server.publicKey));
  expect(stranger.serverKey).toEqual(known.serverKey);
});

it("works over a Unix socket", async () => {
  const path = join(folder, "agent.sock");
  await using _server = await openRpcServer({ kind: "unix", path }, (router) => {
    router.service(Admin, { getStatus: () => ({ size: 1n }) });
  });
  using connection = await openRpcConnection({ kind: "unix", path });

  expect((await createClient(Admin, connection.transport).getStatus({})).size).toBe(1n);
});

it("says where it could not connect", async () => {
  await expect(openRpcConnection({ kind: "tls", host: "127.0.0.1", port: 1 })).rejects.toThrow(
    "cannot reach 127.0.0.1:1",
  );
});

it("says that a port is taken", async () => {
  const listen = {
    kind: "tls",
    host: "127.0.0.1",
    port: 0,
    identity: serverIdentity,
  } as const;
  await using opened = await openRpcServer(listen, () => {});
  const port = Number(opened.address.split(":")[1]);

  await expect(openRpcServer({ ...listen, port }, () => {})).rejects.toThrow("in use by another process");
});
