import { writeFile } from "node:fs/promises";
import { createServer } from "node:http";
import { join } from "node:path";
import { afterEach, beforeEach, expect, it } from "vitest";
import {
  accountClaims,
  accountToken,
  type ClusterKey,
  clusterIssuer,
  clusterKey,
  keySetOf,
} from "../../../test/apparatus/service-account-tokens.ts";
import { shiftedClock } from "../../../test/apparatus/shifted-clock.ts";
import {
  connectTo,
  foundWorkloadMesh,
  putWorkload,
  reader,
  refusalOf,
} from "../../../test/apparatus/workload-mesh.ts";
import { temporaryFolder } from "../../../test/contracts/temporary-folder.ts";

const selectors = ["k8s:ns:shop", "k8s:sa:payments"];
const refused = "PermissionDenied: no identity issued";
const claims = (serviceAccount?: string) => accountClaims(shiftedClock().nowSeconds(), serviceAccount);

let stack = new AsyncDisposableStack();

beforeEach(() => {
  stack = new AsyncDisposableStack();
});

afterEach(() => stack.disposeAsync());

/** A mesh whose agent knows a cluster, of which `payments` of `shop` may be /shop/payments; callers are this process. */
async function foundWithCluster(key: ClusterKey) {
  const folder = stack.use(await temporaryFolder());
  const tokenPath = join(folder.path, "token");
  const cluster = { keys: keySetOf(key), status: 200 };
  const server = createServer((_, response) => {
    response.writeHead(cluster.status).end(cluster.keys);
  });
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  stack.defer(() => void server.close());
  const address = server.address();
  const port = typeof address === "object" ? address?.port : undefined;
  const mesh = stack.use(
    await foundWorkloadMesh({
      workloads: {
        endpoints: [{ kind: "tcp", host: "127.0.0.1", port: 0 }],
        idleMillis: 100,
        kubernetes: {
          signer: {
            issuer: clusterIssuer,
            keys: { kind: "url", url: `http://127.0.0.1:${port}/openid/v1/jwks` },
          },
          tokenPath,
        },
      },
    }),
  );
  await putWorkload(mesh, "payments", { selectors });
  const connect = () => stack.use(connectTo(mesh));
  return {
    cluster,
    has: (token: string) => writeFile(tokenPath, token),
    letUser: () => putWorkload(mesh, "user"),
    connect,
    /** Who this process is, or why it is nobody. */
    ask: async (client = connect()): Promise<string> => {
      const asked = reader(client.api.fetchX509SVID({}))();
      const spiffeId = asked.then(({ svids }) => svids[0]?.spiffeId ?? "nobody");
      return spiffeId.catch(() => refusalOf(asked));
    },
  };
}

it("gives a process of a pod the identity that its namespace and account may have", async () => {
  const key = clusterKey("one");
  const mesh = await foundWithCluster(key);
  await mesh.has(accountToken(key, claims()));

  expect(await mesh.ask()).toBe("spiffe://test.example/shop/payments");
});

it("takes tokens by a key that the cluster has had only since", async () => {
  const [first, second] = [clusterKey("one"), clusterKey("two")];
  const mesh = await foundWithCluster(first);
  await mesh.has(accountToken(first, claims()));
  await mesh.ask();

  mesh.cluster.keys = keySetOf(second);
  await mesh.has(accountToken(second, claims()));

  expect(await mesh.ask()).toBe("spiffe://test.example/shop/payments");
  await mesh.has(accountToken(first, claims()));
  expect(await mesh.ask()).toBe(refused);
}, 20_000);

it("refuses another account's token and a stranger's by the same key name", async () => {
  const key = clusterKey("one");
  const mesh = await foundWithCluster(key);

  await mesh.has(accountToken(key, claims("orders")));
  const other = await mesh.ask();
  await mesh.has(accountToken(clusterKey("one"), claims()));

  expect([other, await mesh.ask()]).toEqual([refused, refused]);
}, 20_000);

it("looks again, on the same connection, for a token that was not there", async () => {
  const key = clusterKey("one");
  const mesh = await foundWithCluster(key);
  const client = mesh.connect();

  const before = await mesh.ask(client);
  await mesh.has(accountToken(key, claims()));

  expect([before, await mesh.ask(client)]).toEqual([refused, "spiffe://test.example/shop/payments"]);
}, 20_000);

it("refuses pods while the cluster has no keys to show, and serves others", async () => {
  const key = clusterKey("one");
  const mesh = await foundWithCluster(key);
  mesh.cluster.status = 503;
  await mesh.has(accountToken(key, claims()));

  const away = await mesh.ask();
  await mesh.letUser();

  expect([away, await mesh.ask()]).toEqual([refused, "spiffe://test.example/shop/payments"]);
}, 20_000);
