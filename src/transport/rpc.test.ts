import { execFileSync } from "node:child_process";
import { mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { createClient } from "@connectrpc/connect";
import { afterAll, beforeAll, expect, it } from "vitest";
import { hexOf } from "../base/bytes.ts";
import { Admin } from "../protocol/index.ts";
import { openRpcConnection, openRpcServer, peerKey } from "./index.ts";

let folder: string;
const keys = { server: { cert: "", key: "" }, client: { cert: "", key: "" } };

beforeAll(() => {
  folder = mkdtempSync(join(tmpdir(), "troth-rpc-"));
  for (const name of ["server", "client"] as const) {
    const [key, cert] = [join(folder, `${name}.key`), join(folder, `${name}.pem`)];
    execFileSync(
      "openssl",
      ["req", "-x509", "-newkey", "ed25519", "-nodes", "-subj", `/CN=${name}`, "-keyout", key, "-out", cert],
      { stdio: "ignore" },
    );
    keys[name] = { cert: readFileSync(cert, "utf8"), key: readFileSync(key, "utf8") };
  }
});
afterAll(() => rmSync(folder, { recursive: true }));

it("tells each end which key the other holds", async () => {
  const seen: string[] = [];
  await using server = await openRpcServer(
    {
      kind: "tls",
      host: "127.0.0.1",
      port: 0,
      certificatePem: keys.server.cert,
      privateKeyPem: keys.server.key,
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
  const port = Number(server.address.split(":")[1]);

  using known = await openRpcConnection({
    kind: "tls",
    host: "127.0.0.1",
    port,
    certificatePem: keys.client.cert,
    privateKeyPem: keys.client.key,
  });
  using stranger = await openRpcConnection({ kind: "tls", host: "127.0.0.1", port });
  const answer = await createClient(Admin, known.transport).getStatus({});
  await createClient(Admin, stranger.transport).getStatus({});

  expect(answer.size).toBe(7n);
  expect(seen[0]).toHaveLength(64);
  expect(seen[1]).toBe("");
  expect(known.serverKey).toHaveLength(32);
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
    certificatePem: keys.server.cert,
    privateKeyPem: keys.server.key,
  } as const;
  await using server = await openRpcServer(listen, () => {});
  const port = Number(server.address.split(":")[1]);

  await expect(openRpcServer({ ...listen, port }, () => {})).rejects.toThrow("in use by another process");
});
