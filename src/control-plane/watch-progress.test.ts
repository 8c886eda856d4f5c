import { randomBytes, randomUUID } from "node:crypto";
import { createClient } from "@connectrpc/connect";
import { afterAll, beforeAll, expect, it, vi } from "vitest";
import { temporaryFolder } from "../../test/contracts/temporary-folder.ts";
import { fakeClock } from "../../test/fakes/fake-clock.ts";
import { adminAs, firstOf, outcomeOf } from "../../test/fakes/people.ts";
import {
  foundSmallDomain,
  putNode,
  putService,
  type RunningControlPlane,
  runControlPlane,
  type SmallDomain,
} from "../../test/fakes/small-domain.ts";
import { signerNamed } from "../../test/fakes/small-trust-log.ts";
import { buildCertificateRequest, generateP256 } from "../crypto/index.ts";
import { Mesh, type Progress } from "../protocol/index.ts";
import { openRpcConnection, tlsIdentityOf } from "../transport/index.ts";
import { verifierKeyOf } from "../trust-log/index.ts";

const clock = fakeClock();
const open = new AsyncDisposableStack();
let domain: SmallDomain;
let running: RunningControlPlane;
let report: (sizes: Readonly<Record<string, number>>, ended?: readonly string[]) => Promise<unknown>;
const instances = [randomUUID(), randomUUID()] as const;

beforeAll(async () => {
  const folder = open.use(await temporaryFolder());
  domain = await foundSmallDomain(folder.path, clock);
  running = open.use(await runControlPlane(domain, clock));
  const node = await putNode(domain, running.writer, "edge-1");
  await putService(domain, running.writer, "/shop/web");
  const identity = tlsIdentityOf(node.privateKey, randomBytes);
  const connection = open.use(
    await openRpcConnection({ kind: "tls", host: "127.0.0.1", port: running.port, identity }),
  );
  const mesh = createClient(Mesh, connection.transport);
  for (const instance of instances)
    await mesh.issueSvid({
      instance,
      service: "/shop/web",
      certificateRequest: buildCertificateRequest(generateP256().privateKey),
      auditKey: verifierKeyOf(signerNamed("example.org/audit/1")),
    });
  report = (sizes, ended = []) =>
    mesh.report({
      followers: Object.entries(sizes).map(([instance, size]) => ({ instance, size: BigInt(size) })),
      ended: [...ended],
    });
});
afterAll(() => open.disposeAsync());

it("tells at once how it is, then each follower once with its time, and who has gone", async () => {
  const [one, two] = instances;
  const before = running.writer.tree.size;
  await report({ [one]: before, [two]: before });
  const size = await putService(domain, running.writer, "/shop/new");
  using calls = await adminAs(running, domain.operator);
  const messages: Progress[] = [];
  const ending = new AbortController();
  const watched = (async () => {
    for await (const message of calls.admin.watchProgress({ size: BigInt(size) }, { signal: ending.signal }))
      messages.push(message);
  })();
  await vi.waitFor(() => expect(messages).toHaveLength(1));
  clock.advanceSeconds(0.5);
  await report({ [one]: size, [two]: before });
  await vi.waitFor(() => expect(messages).toHaveLength(2));
  clock.advanceSeconds(0.5);
  await report({ [one]: size + 5, [two]: before });
  await report({}, [two]);
  await vi.waitFor(() => expect(messages).toHaveLength(3));
  ending.abort();

  expect(await outcomeOf(watched)).toContain("Canceled");
  expect(
    messages.map(({ known, reached, followers }) => [
      known,
      reached,
      followers.map(({ instance, service, millis }) => [instance, service, millis]),
    ]),
  ).toEqual([
    [2, 0, []],
    [2, 1, [[one, "/shop/web", 500]]],
    [1, 1, []],
  ]);
});

it("refuses a size that no log has", async () => {
  using calls = await adminAs(running, domain.operator);
  const watched = firstOf(calls.admin.watchProgress({ size: 2n ** 63n }));

  expect(await outcomeOf(watched)).toContain("InvalidArgument");
});
