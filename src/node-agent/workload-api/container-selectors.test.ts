import { spawn } from "node:child_process";
import { once } from "node:events";
import { existsSync, mkdirSync, rmdirSync, writeFileSync } from "node:fs";
import { mkdir, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { afterEach, beforeEach, expect, it, vi } from "vitest";
import { openContainerEngine } from "../../../test/apparatus/container-engine.ts";
import { temporaryFolder } from "../../../test/contracts/temporary-folder.ts";
import { silentLog } from "../../../test/fakes/silent-log.ts";
import { Procfs } from "../../peer-process/index.ts";
import { ContainerSelectors } from "./container-selectors.ts";

/** Where this process may make control groups; its kernel's own, as the runtime of a machine does. */
const hierarchies = ["/sys/fs/cgroup", "/sys/fs/cgroup/unified", "/sys/fs/cgroup/pids"].filter(mayMakeGroups);
const id = "c0ffee".padEnd(64, "0");
const inner = "dec0de".padEnd(64, "1");
const rootPid = 100;
const callerPid = 101;
const ofPayments = [
  "docker:label:com.example.service:payments",
  "docker:label:stage:live",
  "docker:image_id:registry.example/payments:1.2",
  `docker:image_config_digest:sha256:${"ab".repeat(32)}`,
];

let stack = new AsyncDisposableStack();
let folder: string;

beforeEach(async () => {
  stack = new AsyncDisposableStack();
  folder = stack.use(await temporaryFolder()).path;
});

afterEach(() => stack.disposeAsync());

/** What the kernel says of the control groups of two processes: a container's first, and the caller. */
async function groups(ofRoot: string, ofCaller: string): Promise<Procfs> {
  for (const [pid, text] of [
    [rootPid, ofRoot],
    [callerPid, ofCaller],
  ] as const) {
    await mkdir(join(folder, String(pid)), { recursive: true });
    await writeFile(join(folder, String(pid), "cgroup"), text);
  }
  return new Procfs(folder);
}

async function openSelectors(procfs: Procfs) {
  const engine = stack.use(await openContainerEngine(join(folder, "engine.sock")));
  engine.run(id, {
    pid: rootPid,
    image: "registry.example/payments:1.2",
    labels: { "com.example.service": "payments", stage: "live" },
  });
  const messages: string[] = [];
  const note = (message: string): void => void messages.push(message);
  const log = { ...silentLog, warn: note, info: note };
  const selectors = new ContainerSelectors({ socketPath: engine.socketPath }, { procfs, log });
  return { engine, messages, selectors, ask: () => selectors.of({ pid: callerPid }) };
}

const v2 = `0::/system.slice/docker-${id}.scope\n`;
const v1 = `12:pids:/docker/${id}\n3:cpuset:/docker/${id}\n1:name=systemd:/docker/${id}\n`;

it.each([
  ["version 2 under systemd", v2, v2],
  ["version 2 without", `0::/docker/${id}\n`, `0::/docker/${id}\n`],
  ["version 1", v1, v1],
  ["both versions, of which one has no groups", `${v1}0::/\n`, `${v1}0::/\n`],
  ["Podman", `0::/machine.slice/libpod-${id}.scope\n`, `0::/machine.slice/libpod-${id}.scope/container\n`],
  ["a group below the container's", v2, `0::/system.slice/docker-${id}.scope/workers/7\n`],
  [
    "a container in the container, which this runtime does not know",
    `0::/docker/${id}\n`,
    `0::/docker/${id}/docker/${inner}\n`,
  ],
  [
    "Kubernetes",
    `0::/kubepods.slice/kubepods-pod1.slice/cri-containerd-${id}.scope\n`,
    `0::/kubepods.slice/kubepods-pod1.slice/cri-containerd-${id}.scope\n`,
  ],
])("knows a container's labels and image by its group: %s", async (_, ofRoot, ofCaller) => {
  const { ask } = await openSelectors(await groups(ofRoot, ofCaller));

  expect(await ask()).toEqual(ofPayments);
});

it.each([
  ["in no container", v2, "0::/user.slice/user-1000.slice/session-2.scope\n"],
  ["in a container of another runtime", v2, `0::/docker/${inner}\n`],
  [
    "in a group of its own that it named like the container's",
    v2,
    `0::/user.slice/user@1000.service/docker-${id}.scope\n`,
  ],
  ["in a group whose name only begins like the container's", `0::/docker/${id}\n`, `0::/docker/${id}x\n`],
  ["in a group beside it of that name", `0::/docker/${id}\n`, `0::/other/docker/${id}\n`],
  ["whose container has a first process elsewhere", "0::/\n", v2],
])("knows nothing of a process %s", async (_, ofRoot, ofCaller) => {
  const { ask } = await openSelectors(await groups(ofRoot, ofCaller));

  expect(await ask()).toEqual([]);
});

it.runIf(hierarchies.length > 0)("knows real processes in real groups, and none beside them", async () => {
  const [hierarchy = ""] = hierarchies;
  const group = join(hierarchy, `troth-test-${process.pid}`);
  const own = join(group, "docker", id);
  const forged = join(group, "mine", "docker", id);
  const children = [own, join(own, "below"), forged].map((folder) => {
    mkdirSync(folder, { recursive: true });
    const child = spawn("sleep", ["60"]);
    writeFileSync(join(folder, "cgroup.procs"), String(child.pid));
    return child;
  });
  const [first = 0, below = 0, stranger = 0] = children.map(({ pid = 0 }) => pid);
  try {
    const { engine, selectors } = await openSelectors(new Procfs());
    engine.run(id, { pid: first, image: "payments", labels: {} });

    expect(await selectors.of({ pid: first })).toContain("docker:image_id:payments");
    expect(await selectors.of({ pid: below })).toContain("docker:image_id:payments");
    expect(await selectors.of({ pid: stranger })).toEqual([]);
    expect(await selectors.of({ pid: process.pid })).toEqual([]);
  } finally {
    for (const child of children) child.kill("SIGKILL");
    await Promise.all(children.map((child) => once(child, "exit")));
    // A group is gone once no process is in it any more.
    for (const folder of [
      join(own, "below"),
      own,
      join(group, "docker"),
      forged,
      join(group, "mine", "docker"),
      join(group, "mine"),
      group,
    ])
      await vi.waitFor(() => rmdirSync(folder));
  }
});

it("knows nothing of a container that ends, or starts anew, while it is looked at", async () => {
  const { ask, engine } = await openSelectors(await groups(v2, v2));

  engine.afterNext(() => engine.stop(id));
  const ended = await ask();
  engine.run(id, { pid: rootPid, image: "registry.example/payments:1.2", labels: {} });
  engine.afterNext(() =>
    engine.run(id, { pid: rootPid, image: "registry.example/payments:1.2", labels: {} }),
  );

  expect([ended, await ask()]).toEqual([[], []]);
});

it("knows no containers while the runtime is away, and says so once", async () => {
  const { ask, engine, messages } = await openSelectors(await groups(v2, v2));
  await engine[Symbol.asyncDispose]();
  const away = [await ask(), await ask()];
  const again = stack.use(await openContainerEngine(engine.socketPath));
  again.run(id, { pid: rootPid, image: "i", labels: {} });

  expect(away).toEqual([[], []]);
  expect(await ask()).toContain("docker:image_id:i");
  expect(messages).toEqual([
    "the container runtime cannot be asked: no process has docker selectors",
    "the container runtime answers again",
  ]);
});

it.each([
  ["no JSON", 200, "running"],
  [
    "another container",
    200,
    JSON.stringify({ Id: inner, State: { Running: true, Pid: rootPid, StartedAt: "1" } }),
  ],
  ["no process", 200, JSON.stringify({ Id: id, State: { Running: true, Pid: 0, StartedAt: "1" } })],
  ["a failure", 500, "{}"],
])("takes an answer of the runtime with %s for none", async (_, status, text) => {
  const { ask, engine } = await openSelectors(await groups(v2, v2));
  engine.instead = { status, text };

  expect(await ask()).toEqual([]);
});

function mayMakeGroups(hierarchy: string): boolean {
  const folder = join(hierarchy, `troth-probe-${process.pid}`);
  if (!existsSync(join(hierarchy, "cgroup.procs"))) return false;
  try {
    mkdirSync(folder);
    rmdirSync(folder);
    return true;
  } catch {
    return false;
  }
}
