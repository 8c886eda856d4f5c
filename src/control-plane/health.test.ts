import { afterEach, beforeEach, expect, it } from "vitest";
import { ask } from "../../test/apparatus/workload.ts";
import { type TemporaryFolder, temporaryFolder } from "../../test/contracts/temporary-folder.ts";
import { type FakeClock, fakeClock } from "../../test/fakes/fake-clock.ts";
import {
  foundSmallDomain,
  operatorEntry,
  putNode,
  putService,
  type RunningControlPlane,
  runControlPlane,
  type SmallDomain,
} from "../../test/fakes/small-domain.ts";
import { serviceBody } from "../../test/fakes/small-trust-log.ts";

let folder: TemporaryFolder;
let clock: FakeClock;
let domain: SmallDomain;
let running: RunningControlPlane;

beforeEach(async () => {
  folder = await temporaryFolder();
  clock = fakeClock();
  domain = await foundSmallDomain(folder.path, clock);
  running = await runControlPlane(domain, clock);
});
afterEach(async () => {
  await running[Symbol.asyncDispose]();
  await folder[Symbol.asyncDispose]();
});

async function get(path: string): Promise<string> {
  const [host, port] = running.controlPlane.healthAddress.split(":");
  return (await ask({ host, port, path, agent: false })).body;
}

it("is ready while it issues epochs, and not when none has come for half a minute", async () => {
  await expect.poll(() => get("/readyz")).not.toContain("[-]");
  const before = await get("/readyz?verbose");
  clock.advanceSeconds(31);

  expect(before).toBe("[+] trust-log ok\n[+] epochs ok\nreadyz check passed\n");
  expect(await get("/readyz")).toBe(
    "[+] trust-log ok\n[-] epochs: no epoch issued for 31 s; is the disk full?\nreadyz check failed\n",
  );
});

it("counts what is ordered and what is refused, by kind and reason, whatever it calls itself", async () => {
  const { writer } = running;
  await putService(domain, writer, "/shop/web");
  await putNode(domain, writer, "edge-1");
  const body = serviceBody("/shop/web", ["*"]);
  await writer.submit([operatorEntry(domain, writer.state, { kind: "service.put", body, ahead: -1 })]);
  await writer.submit([operatorEntry(domain, writer.state, { kind: 'made-up"} 1', body })]);
  await writer.submit([Buffer.from("not an entry")]);

  const counts = (await get("/metrics"))
    .split("\n")
    .filter((line) => line.startsWith("troth_control_plane_entries"));

  expect(counts.sort()).toEqual([
    'troth_control_plane_entries_total{kind="_OTHER",outcome="malformed-entry"} 1',
    'troth_control_plane_entries_total{kind="_OTHER",outcome="unauthorised"} 1',
    'troth_control_plane_entries_total{kind="epoch",outcome="ordered"} 1',
    'troth_control_plane_entries_total{kind="node.invite",outcome="ordered"} 1',
    'troth_control_plane_entries_total{kind="node.join",outcome="ordered"} 1',
    'troth_control_plane_entries_total{kind="service.put",outcome="ordered"} 1',
    'troth_control_plane_entries_total{kind="service.put",outcome="replayed"} 1',
  ]);
});

it("shows the tree, the nodes, the followers and how long appends took", async () => {
  await putService(domain, running.writer, "/shop/web");

  const page = await get("/metrics");

  expect(page).toContain(`\ntroth_control_plane_tree_size ${running.writer.newest?.size}\n`);
  expect(page).toContain("\ntroth_control_plane_connected_nodes 0\n");
  expect(page).toContain('\ntroth_control_plane_followers{state="behind"} 0\n');
  expect(page).toContain("\ntroth_control_plane_append_duration_seconds_count 2\n");
  expect(page).toContain("\ntroth_control_plane_epochs_total 1\n");
});

it("is not ready once it orders nothing any more, and says where to look", async () => {
  running.writer.halt("the log went back");

  expect(await get("/readyz")).toContain("[-] trust-log: nothing is ordered any more; troth status says why");
});
