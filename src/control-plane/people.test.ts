import { afterAll, beforeAll, describe, expect, it, test, vi } from "vitest";
import { temporaryFolder } from "../../test/contracts/temporary-folder.ts";
import { fakeClock } from "../../test/fakes/fake-clock.ts";
import { adminAs, firstOf, outcomeOf, personsEntry, putPerson } from "../../test/fakes/people.ts";
import {
  foundSmallDomain,
  putAsOperator,
  putNode,
  type RunningControlPlane,
  runControlPlane,
  type SmallDomain,
} from "../../test/fakes/small-domain.ts";
import { serviceBody, signerNamed } from "../../test/fakes/small-trust-log.ts";
import type { NoteSigner } from "../trust-log/index.ts";

const clock = fakeClock();
const open = new AsyncDisposableStack();
let domain: SmallDomain;
let running: RunningControlPlane;
const people = new Map<string, NoteSigner | undefined>();

beforeAll(async () => {
  const folder = open.use(await temporaryFolder());
  domain = await foundSmallDomain(folder.path, clock);
  running = open.use(await runControlPlane(domain, clock));
  people.set("nobody", undefined);
  people.set("a stranger", signerNamed("example.org/operator/mallory"));
  people.set("the issuer", domain.keys.issuer);
  people.set("a node", await putNode(domain, running.writer, "edge-1"));
  for (const role of ["viewer", "auditor", "approver", "operator"])
    people.set(role, await putPerson(domain, running, { role, person: `${role}-1` }));
  const removed = await putPerson(domain, running, { role: "operator", person: "bob" });
  people.set("a removed operator", removed);
  const body = { name: removed.name };
  await putAsOperator(domain, running.writer, { kind: "key.remove", body });
});
afterAll(() => open.disposeAsync());

async function outcomesAs(who: string): Promise<Record<string, string>> {
  using calls = await adminAs(running, people.get(who));
  const { admin } = calls;
  const entry = new Uint8Array(1);
  return {
    getStatus: await outcomeOf(admin.getStatus({})),
    readLog: await outcomeOf(firstOf(admin.readLog({}))),
    watchProgress: await outcomeOf(firstOf(admin.watchProgress({}))),
    listProposals: await outcomeOf(admin.listProposals({})),
    openSession: await outcomeOf(admin.openSession({})),
    listSessions: await outcomeOf(admin.listSessions({})),
    endSession: await outcomeOf(admin.endSession({ id: "x" })),
    append: await outcomeOf(admin.append({})),
    propose: await outcomeOf(admin.propose({ entry })),
    approve: await outcomeOf(admin.approve({ entry })),
    withdraw: await outcomeOf(admin.withdrawProposal({ id: "x" })),
  };
}

const reads = ["getStatus", "readLog", "watchProgress", "listProposals", "openSession", "listSessions"];
const writes = ["append", "propose", "approve", "withdraw"];

function all(calls: readonly string[], outcome: string): Record<string, string> {
  return Object.fromEntries(calls.map((call) => [call, outcome]));
}

const readable = { ...all(reads, "ok"), endSession: "NotFound unknown-session" };
const judged = {
  append: "ok",
  propose: "PermissionDenied malformed-entry",
  approve: "PermissionDenied malformed-entry",
  withdraw: "PermissionDenied unknown-proposal",
};

describe("who may call what", () => {
  test.each([
    ["nobody", all([...reads, "endSession", ...writes], "Unauthenticated no-certificate")],
    ["a stranger", all([...reads, "endSession", ...writes], "Unauthenticated unknown-key")],
    ["the issuer", all([...reads, "endSession", ...writes], "Unauthenticated unknown-key")],
    ["a node", all([...reads, "endSession", ...writes], "Unauthenticated unknown-key")],
    ["a removed operator", all([...reads, "endSession", ...writes], "Unauthenticated unknown-key")],
    ["viewer", { ...readable, ...all(writes, "PermissionDenied wrong-role") }],
    ["auditor", { ...readable, ...all(writes, "PermissionDenied wrong-role") }],
    ["approver", { ...readable, ...judged }],
    ["operator", { ...readable, ...judged }],
  ])("%s", async (who, expected) => {
    const size = running.writer.tree.size;

    expect(await outcomesAs(who)).toEqual(expected);
    expect(running.writer.tree.size).toBe(size);
  });

  it("is told to operators where somebody tried more, with who and what, and never without end", async () => {
    for (let count = 0; count < 50; count += 1) {
      using stranger = await adminAs(running, signerNamed(`stranger-${count}`));
      await outcomeOf(stranger.admin.getStatus({}));
    }
    using viewer = await adminAs(running, people.get("viewer"));
    await outcomeOf(viewer.admin.append({}));

    using operator = await adminAs(running, people.get("operator"));
    const { alarms } = await operator.admin.getStatus({});
    const details = alarms.filter(({ reason }) => reason === "call-refused").map(({ detail }) => detail);

    expect(new Set(details).size).toBe(details.length);
    expect(details).toContainEqual(expect.stringMatching(/^GetStatus by key [0-9a-f]{16}: unknown-key$/));
    expect(details).toContainEqual(
      expect.stringMatching(/^Append by example.org\/viewer\/viewer-1, key [0-9a-f]{16}: wrong-role$/),
    );
  });

  it("gives an approver no more authority than the fold does", async () => {
    const approver = people.get("approver") ?? signerNamed("none");
    using calls = await adminAs(running, approver);
    const body = serviceBody("/shop/approved");
    const entry = personsEntry(running.writer.state, [approver], { kind: "service.put", body });

    expect(await outcomeOf(calls.admin.append({ entries: [entry] }))).toBe("PermissionDenied unauthorised");
    expect(running.writer.state.services.has("/shop/approved")).toBe(false);
  });
});

it("ends the open streams of a key that is removed", async () => {
  const leaver = await putPerson(domain, running, { role: "operator", person: "leaver" });
  using calls = await adminAs(running, leaver);
  const messages: unknown[] = [];
  const watched = (async () => {
    for await (const message of calls.admin.watchProgress({ size: 1n })) messages.push(message);
  })();
  await vi.waitFor(() => expect(messages).toHaveLength(1));

  await putAsOperator(domain, running.writer, { kind: "key.remove", body: { name: leaver.name } });

  expect(await outcomeOf(watched)).toBe("Unauthenticated unknown-key");
  expect(await outcomeOf(calls.admin.getStatus({}))).toBe("Unauthenticated unknown-key");
});

describe("limits", () => {
  it("give a person so many streams and another person all the same", async () => {
    using mine = await adminAs(running, people.get("viewer"));
    using others = await adminAs(running, people.get("auditor"));
    const ending = new AbortController();
    const watch = (admin: typeof mine.admin): Promise<unknown> =>
      admin.watchProgress({}, { signal: ending.signal })[Symbol.asyncIterator]().next();
    for (let count = 0; count < 64; count += 1) await watch(mine.admin);

    expect(await outcomeOf(watch(mine.admin))).toBe("ResourceExhausted too many streams");
    expect(await outcomeOf(watch(others.admin))).toBe("ok");
    ending.abort();
    await vi.waitFor(async () => expect(await outcomeOf(firstOf(mine.admin.watchProgress({})))).toBe("ok"));
  });

  it("give a person so many reads, appends, proposals and sessions, and another person all the same", async () => {
    using mine = await adminAs(running, people.get("operator"));
    using others = await adminAs(running, people.get("approver"));
    const calls: readonly ((admin: typeof mine.admin) => Promise<unknown>)[] = [
      (admin) => admin.getStatus({}),
      (admin) => admin.append({}),
      (admin) => admin.propose({}),
      (admin) => admin.openSession({}),
    ];
    for (const call of calls) {
      clock.advanceSeconds(600);
      const outcomes = new Set<string>();
      for (
        let count = 0;
        count < 1_010 && !outcomes.has("ResourceExhausted too many calls; try again");
        count += 1
      )
        outcomes.add(await outcomeOf(call(mine.admin)));

      expect([...outcomes]).toContain("ResourceExhausted too many calls; try again");
      expect(await outcomeOf(call(others.admin))).not.toContain("ResourceExhausted");
    }
    clock.advanceSeconds(600);
  });
});
