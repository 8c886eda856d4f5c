import { Socket } from "node:net";
import { expect, it } from "vitest";
import { refusalOf } from "../../test/apparatus/workload-mesh.ts";
import { temporaryFolder } from "../../test/contracts/temporary-folder.ts";
import { fakeClock } from "../../test/fakes/fake-clock.ts";
import { silentLog } from "../../test/fakes/silent-log.ts";
import { fail, ok } from "../base/result.ts";
import type { CallerProcess, UnixCallers } from "../peer-process/index.ts";
import { SidecarCallers } from "./sidecar-callers.ts";

type Told = Awaited<ReturnType<UnixCallers["identify"]>>;

const process = (pid: number): CallerProcess => ({
  pid,
  parentPid: 1,
  startedTicks: 100,
  uid: 0,
  gid: 0,
  groups: [],
  executable: "/usr/bin/sidecar",
  parents: [],
});
const callerOf = (...pids: [number, ...number[]]): Told => {
  const [first, ...others] = pids;
  return ok({ inode: 1, uid: 0, processes: [process(first), ...others.map(process)] });
};

async function open(
  tell: (look: number) => Told,
  tellsCallers = true,
): Promise<{ callers: SidecarCallers; looks: () => number } & AsyncDisposable> {
  const folder = await temporaryFolder();
  let looks = 0;
  const callers = await SidecarCallers.open({
    folder: folder.path,
    callers: { tellsCallers, identify: () => Promise.resolve(tell((looks += 1))) },
    isKnown: () => true,
    alarm: () => {},
    clock: fakeClock(),
    log: silentLog,
  });
  return { callers, looks: () => looks, [Symbol.asyncDispose]: () => folder[Symbol.asyncDispose]() };
}

it("looks once at a connection, and again where that failed or a child shared it for a moment", async () => {
  await using opened = await open((look) => {
    if (look === 1) return fail("changed-meanwhile", "it ended");
    return look === 2 ? callerOf(7, 8) : callerOf(7);
  });
  const connection = new Socket();

  expect(await refusalOf(opened.callers.admit(connection, "one"))).toContain(
    "Unavailable: the caller is not known",
  );
  expect(await refusalOf(opened.callers.admit(connection, "one"))).toBe("no refusal");
  expect(await refusalOf(opened.callers.admit(connection, "two"))).toBe("no refusal");
  expect(opened.looks()).toBe(3);
});

it("refuses a connection that several processes go on having", async () => {
  await using opened = await open(() => callerOf(7, 8));

  const refusal = await refusalOf(opened.callers.admit(new Socket(), "one"));

  expect(refusal).toContain("PermissionDenied: the caller is not known (too-many-processes)");
});

it("refuses where ss fails at the moment, and serves as ever where the platform never tells", async () => {
  const failing = (): Told => fail("platform-cannot-tell", "the list could not be read");
  await using failed = await open(failing);
  await using elsewhere = await open(failing, false);
  elsewhere.callers.own("of-the-agent");

  expect(await refusalOf(failed.callers.admit(new Socket(), "one"))).toContain("Unavailable");
  expect(await refusalOf(elsewhere.callers.admit(new Socket(), "one"))).toBe("no refusal");
  expect(await refusalOf(elsewhere.callers.admit(new Socket(), "of-the-agent"))).toContain(
    "PermissionDenied",
  );
});

it("does not take a process that it may not look at for one that it may, nor the other way round", async () => {
  const unseen: Told = fail("out-of-sight", "no process that may be looked at has it open");
  await using opened = await open((look) => (look % 2 === 1 ? callerOf(7) : unseen));
  const [seen, hidden] = [new Socket(), new Socket()];
  await opened.callers.admit(seen, "one");
  await opened.callers.admit(hidden, "two");

  expect(await refusalOf(opened.callers.admit(hidden, "one"))).toContain("instance-of-another-process");
  expect(await refusalOf(opened.callers.admit(seen, "two"))).toContain("instance-of-another-process");
});

it("tells callers apart by their process, and by their connection where none is told", async () => {
  await using told = await open(() => callerOf(7));
  await using elsewhere = await open(() => callerOf(7), false);
  const [one, two] = [new Socket(), new Socket()];

  expect(await told.callers.callerAt(one)).toBe(await told.callers.callerAt(two));
  expect([await elsewhere.callers.callerAt(one), await elsewhere.callers.callerAt(two)]).toEqual([one, two]);
});
