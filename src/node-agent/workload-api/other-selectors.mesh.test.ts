import { writeFile } from "node:fs/promises";
import { join } from "node:path";
import { afterEach, beforeEach, expect, it } from "vitest";
import { openClusterApi } from "../../../test/apparatus/cluster-api.ts";
import { openContainerEngine } from "../../../test/apparatus/container-engine.ts";
import type { FoundingOptions, MeshInProcess } from "../../../test/apparatus/mesh-in-process.ts";
import { accountClaims, accountToken, clusterKey } from "../../../test/apparatus/service-account-tokens.ts";
import { shiftedClock } from "../../../test/apparatus/shifted-clock.ts";
import {
  connectTo,
  foundWorkloadMesh,
  putWorkload,
  reader,
  refusalOf,
} from "../../../test/apparatus/workload-mesh.ts";
import { temporaryFolder } from "../../../test/contracts/temporary-folder.ts";

const endpoints = [{ kind: "tcp" as const, host: "127.0.0.1", port: 0 }];
const id = "c0ffee".padEnd(64, "0");
const refused = "PermissionDenied: no identity issued";
const payments = "spiffe://test.example/shop/payments";

let stack = new AsyncDisposableStack();

beforeEach(() => {
  stack = new AsyncDisposableStack();
});

afterEach(() => stack.disposeAsync());

async function found(
  workloads: Partial<FoundingOptions["workloads"]>,
  clock = shiftedClock(),
): Promise<MeshInProcess> {
  return stack.use(
    await foundWorkloadMesh({ workloads: { endpoints, idleMillis: 100, ...workloads }, clock }),
  );
}

/** Reads who this process is, again with every call. */
function watch(mesh: MeshInProcess): () => Promise<string> {
  const next = reader(stack.use(connectTo(mesh)).api.fetchX509SVID({}));
  return async () => {
    const asked = next();
    const spiffeId = asked.then(({ svids }) => svids[0]?.spiffeId ?? "nobody");
    return spiffeId.catch(() => refusalOf(asked));
  };
}

it("ends the stream of a pod that was deleted, which its keys alone would have let go on", async () => {
  const key = clusterKey("one");
  const api = stack.use(await openClusterApi(key));
  const tokenPath = join(stack.use(await temporaryFolder()).path, "token");
  await writeFile(tokenPath, accountToken(key, accountClaims(shiftedClock().nowSeconds())));
  const clock = shiftedClock();
  const review = { url: api.url, authorities: api.ca, tokenFile: api.tokenFile };
  const audience = "https://kubernetes.default.svc";
  const mesh = await found({ kubernetes: { review, audience, tokenPath } }, clock);
  await putWorkload(mesh, "payments", { selectors: ["k8s:ns:shop", "k8s:sa:payments"] });
  const next = watch(mesh);
  expect(await next()).toBe(payments);

  api.deleted.add("4a1d3a6e-0000-4000-8000-000000000002");
  clock.shiftMonotonic(31);
  // Whatever comes next in the log has the agent look again.
  await putWorkload(mesh, "other", { selectors: ["unix:uid:4242"] });

  let said = await next();
  while (said === payments) said = await next();
  expect(said).toBe(refused);
  expect(await watch(mesh)()).toBe(refused);
}, 30_000);

it("gives a process of a container the identity that its label may have, and no other process", async () => {
  const folder = stack.use(await temporaryFolder()).path;
  const engine = stack.use(await openContainerEngine(join(folder, "engine.sock")));
  const mesh = await found({ containers: { socketPath: engine.socketPath } });
  await putWorkload(mesh, "payments", { selectors: ["docker:label:service:payments"] });
  // This process is in no container that the runtime knows by its group.
  engine.run(id, { pid: process.pid, image: "payments", labels: { service: "payments" } });

  expect(await watch(mesh)()).toBe(refused);
}, 30_000);
