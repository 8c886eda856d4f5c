import { afterAll, afterEach, beforeAll, describe, expect, it, vi } from "vitest";
import { type TemporaryFolder, temporaryFolder } from "../../test/contracts/temporary-folder.ts";
import { fakeClock } from "../../test/fakes/fake-clock.ts";
import { personsEntry, putPerson } from "../../test/fakes/people.ts";
import {
  foundSmallDomain,
  type RunningControlPlane,
  runControlPlane,
  type SmallDomain,
} from "../../test/fakes/small-domain.ts";
import { serviceBody } from "../../test/fakes/small-trust-log.ts";
import { exportPrivateKey } from "../crypto/index.ts";
import { openFileKeyStore } from "../storage/index.ts";
import { type NoteSigner, verifierKeyOf } from "../trust-log/index.ts";
import { makeMeshDirectory, meshDirectory, writeKnownDomain } from "./mesh-directory.ts";
import { OperatorClient } from "./operator-client.ts";

const open = new AsyncDisposableStack();
// The entries' ends are reckoned by the machine's clock.
const clock = fakeClock(Math.floor(Date.now() / 1000));
let folder: TemporaryFolder;
let domain: SmallDomain;
let running: RunningControlPlane;
let [bob, carol, victor]: (NoteSigner | undefined)[] = [];

beforeAll(async () => {
  folder = open.use(await temporaryFolder());
  domain = await foundSmallDomain(folder.path, clock);
  running = open.use(await runControlPlane(domain, clock));
  bob = await putPerson(domain, running, { role: "operator", person: "bob" });
  carol = await putPerson(domain, running, { role: "approver", person: "carol" });
  victor = await putPerson(domain, running, { role: "viewer", person: "victor" });
  const grant = { role: "operator", signatures: 2, approvals: 1 };
  const put = { kind: "authority.put", body: { kinds: ["rule.put"], grant } };
  await running.writer.submit([personsEntry(running.writer.state, [domain.operator], put)]);
});
afterAll(() => open.disposeAsync());
afterEach(() => vi.restoreAllMocks());

let directories = 0;

/** A client over a directory that holds this person's key. */
async function clientOf(signer: NoteSigner | undefined): Promise<OperatorClient> {
  if (signer === undefined) throw new Error("nobody");
  directories += 1;
  const directory = meshDirectory(`${folder.path}/person-${directories}`);
  await makeMeshDirectory(directory);
  const keys = await openFileKeyStore(directory.operatorKeys);
  await keys.save("operator", exportPrivateKey(signer.privateKey));
  const { genesis, logKey } = domain.anchor;
  await writeKnownDomain(directory, {
    trustDomain: "example.org",
    address: running.address,
    genesis,
    logKey: verifierKeyOf(logKey),
    operator: signer.name,
  });
  return OperatorClient.open(directory);
}

function said(): () => string {
  const lines: string[] = [];
  vi.spyOn(process.stderr, "write").mockImplementation((text) => lines.push(String(text)) > 0);
  return () => lines.join("");
}

const service = (name: string) => ({ kind: "service.put", body: serviceBody(name) }) as const;
const rule = (from: string) =>
  ({ kind: "rule.put", body: { from, to: "/z", effect: "allow", methods: [], paths: [] } }) as const;

describe("append", () => {
  it("orders what one signature is enough for, proposes the rest one by one, and says what it waits for", async () => {
    using alice = await clientOf(domain.operator);
    const heard = said();

    const { size, proposals } = await alice.append([service("/a"), rule("/a"), rule("/b"), service("/b")]);

    expect(size).toBe(running.writer.newest?.size);
    expect([...running.writer.state.services.entries()].map(([name]) => name)).toEqual(["/a", "/b"]);
    expect(running.writer.state.rules.has("/a /z")).toBe(false);
    expect(proposals.map(({ what, missing }) => [what, missing])).toEqual([
      ["/a may call /z", { signatures: 1, approvals: 1 }],
      ["/b may call /z", { signatures: 1, approvals: 1 }],
    ]);
    expect(heard()).toContain("waits for 1 more signature of an operator and 1 approval: troth approve ");
  });

  it("goes on while proposals wait, which others then put into the log", async () => {
    using alice = await clientOf(domain.operator);
    using other = await clientOf(bob);
    using approver = await clientOf(carol);
    said();

    const first = await alice.append([service("/c"), rule("/c")]);
    await alice.append([service("/d")]);
    const wanted = (client: OperatorClient) =>
      client.proposals().then((all) => all.find(({ id }) => id === first.proposals[0]?.id));
    const [mine, theirs] = [await wanted(other), await wanted(approver)];
    if (mine === undefined || theirs === undefined) throw new Error("it does not wait");

    expect(await approver.approve(theirs)).toBeUndefined();
    expect(running.writer.state.rules.has("/c /z")).toBe(false);
    expect(await other.approve(mine)).toBe(running.writer.newest?.size);
    expect(running.writer.state.rules.has("/c /z")).toBe(true);
    expect(other.state.rules.has("/c /z")).toBe(true);
  });

  it("says which role is needed where this key has another, and signs nothing", async () => {
    for (const person of [victor, carol]) {
      using client = await clientOf(person);
      const size = running.writer.tree.size;

      await expect(client.append([service("/e")])).rejects.toThrow("service.put is written by role operator");
      expect(running.writer.tree.size).toBe(size);
    }
  });

  it("takes more entries than the control plane takes at once", async () => {
    using alice = await clientOf(domain.operator);

    await alice.append(Array.from({ length: 300 }, (_, place) => service(`/many/s${place}`)));

    expect(running.writer.state.services.has("/many/s299")).toBe(true);
  });
});

describe("several processes with one key", () => {
  it("write at the same moment, and each gets what it wrote into the log", async () => {
    const clients = await Promise.all(Array.from({ length: 5 }, () => clientOf(domain.operator)));

    await Promise.all(clients.map((client, place) => client.append([service(`/race/s${place}`)])));

    const { services } = running.writer.state;
    expect(clients.map((_, place) => services.has(`/race/s${place}`))).toEqual(clients.map(() => true));
    expect((await clients[0]?.admin.getStatus({}))?.alarms).toEqual([]);
    for (const client of clients) client[Symbol.dispose]();
  });

  it("do not sign again what was refused for another reason", async () => {
    using alice = await clientOf(domain.operator);
    const append = vi.spyOn(alice.admin, "append");

    const policy = { service: "/nobody", protocol: "http", routes: [] };
    await expect(alice.append([{ kind: "traffic.put", body: policy }])).rejects.toThrow("conflict");

    expect(append).toHaveBeenCalledTimes(1);
  });
});

describe("waitForProxies", () => {
  it("has nobody to wait for in a mesh without proxies", async () => {
    using viewer = await clientOf(victor);
    const { size } = viewer.view.follower;
    expect(await viewer.waitForProxies(size, 10_000)).toMatchObject({ known: 0, reached: 0, byFollower: [] });
  });
});
