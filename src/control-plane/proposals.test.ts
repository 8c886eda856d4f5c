import { readdir, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it, test } from "vitest";
import { type TemporaryFolder, temporaryFolder } from "../../test/contracts/temporary-folder.ts";
import { type FakeClock, fakeClock } from "../../test/fakes/fake-clock.ts";
import { adminAs, outcomeOf, personsEntry, putEpoch, putPerson } from "../../test/fakes/people.ts";
import {
  foundSmallDomain,
  type RunningControlPlane,
  runControlPlane,
  type SmallDomain,
} from "../../test/fakes/small-domain.ts";
import { keyTextOf, serviceBody, signerNamed } from "../../test/fakes/small-trust-log.ts";
import { base64Of, bytesOf, textOf } from "../base/bytes.ts";
import { type NoteSigner, parseEntry, signNote, verifierKeyOf } from "../trust-log/index.ts";

let folder: TemporaryFolder;
let clock: FakeClock;
let domain: SmallDomain;
let running: RunningControlPlane;
let [bob, carol, dave, victor]: NoteSigner[] = [];
const ready = (signer: NoteSigner | undefined): NoteSigner => signer ?? signerNamed("none");

async function found(): Promise<void> {
  folder = await temporaryFolder();
  clock = fakeClock();
  domain = await foundSmallDomain(folder.path, clock);
  running = await runControlPlane(domain, clock);
  bob = await putPerson(domain, running, { role: "operator", person: "bob" });
  dave = await putPerson(domain, running, { role: "operator", person: "dave" });
  carol = await putPerson(domain, running, { role: "approver", person: "carol" });
  victor = await putPerson(domain, running, { role: "viewer", person: "victor" });
  await grant("service.put", 2, 1);
}

async function close(): Promise<void> {
  await running[Symbol.asyncDispose]();
  await folder[Symbol.asyncDispose]();
}

/** What `service.put` takes from now on, signed by everybody whom that may take. */
async function grant(kind: string, signatures: number, approvals: number): Promise<void> {
  const body = { kinds: [kind], grant: { role: "operator", signatures, approvals } };
  const strict = running.writer.state.authority.get("service.put")?.approvals ?? 0;
  const signers = [domain.operator, ready(bob), ...(strict > 0 ? [ready(carol)] : [])];
  const entry = personsEntry(running.writer.state, signers, { kind: "authority.put", body });
  expect(await running.writer.submit([entry])).toMatchObject({ ok: true });
}

type Unusual = Partial<Parameters<typeof personsEntry>[2]>;

function serviceEntry(
  name: string,
  signers: readonly NoteSigner[] = [ready(bob)],
  unusual: Unusual = {},
): Uint8Array {
  return personsEntry(running.writer.state, signers, {
    kind: "service.put",
    body: serviceBody(name),
    ...unusual,
  });
}

async function proposeAs(signer: NoteSigner | undefined, entry: Uint8Array): Promise<string> {
  using calls = await adminAs(running, signer);
  return await outcomeOf(calls.admin.propose({ entry }));
}

/** Signs the text of an entry as somebody and sends that; "waits", "ordered", or why not. */
async function approveAs(signer: NoteSigner | undefined, entry: Uint8Array): Promise<string> {
  using calls = await adminAs(running, signer);
  return await approveWith(calls, signNote(noteTextOf(entry), [ready(signer)]));
}

async function approveWith(calls: Awaited<ReturnType<typeof adminAs>>, entry: Uint8Array): Promise<string> {
  let size = 0n;
  const outcome = await outcomeOf(calls.admin.approve({ entry }).then((answer) => void ({ size } = answer)));
  if (outcome !== "ok") return outcome;
  return size === 0n ? "waits" : "ordered";
}

function noteTextOf(entry: Uint8Array): string {
  const parsed = parseEntry(entry);
  return parsed.ok ? parsed.value.note.text : "";
}

async function waiting(): Promise<string[]> {
  using calls = await adminAs(running, domain.operator);
  const { proposals } = await calls.admin.listProposals({});
  return proposals.map(({ entry }) => /"name":"([^"]+)"/.exec(textOf(entry) ?? "")?.[1] ?? "");
}

async function restart(): Promise<void> {
  await running[Symbol.asyncDispose]();
  running = await runControlPlane(domain, clock);
}

const hasService = (name: string): boolean => running.writer.state.services.has(name);

describe("the right people", () => {
  beforeEach(found);
  afterEach(close);

  it("have an entry ordered once enough of them signed, whatever their order, over restarts between", async () => {
    const entry = serviceEntry("/shop/a");
    expect(await proposeAs(bob, entry)).toBe("ok");
    await restart();
    expect(await waiting()).toEqual(["/shop/a"]);
    expect(await approveAs(carol, entry)).toBe("waits");
    await restart();
    expect(hasService("/shop/a")).toBe(false);

    expect(await approveAs(domain.operator, entry)).toBe("ordered");

    expect(hasService("/shop/a")).toBe(true);
    expect(await waiting()).toEqual([]);
    expect(await readdir(join(folder.path, "proposals"))).toEqual([]);
  });
});

describe("a proposal is refused", () => {
  beforeAll(found);
  afterAll(close);

  test.each<[string, () => Uint8Array, () => NoteSigner | undefined, string]>([
    ["that is none", () => bytesOf("hello\n"), () => bob, "malformed-entry"],
    ["of another log", () => serviceEntry("/x", [ready(bob)], { log: "other" }), () => bob, "other-log"],
    [
      "by a key that the log does not have",
      () => serviceEntry("/x", [signerNamed("m")]),
      () => bob,
      "unknown-author",
    ],
    ["whose author may not write it", () => serviceEntry("/x", [ready(carol)]), () => carol, "unauthorised"],
    [
      "with a signature by somebody else",
      () => serviceEntry("/x", [{ ...signerNamed("x"), name: ready(bob).name }]),
      () => bob,
      "bad-signature",
    ],
    [
      "with the signature of somebody who does not count",
      () => serviceEntry("/x", [ready(bob), ready(victor)]),
      () => bob,
      "unauthorised",
    ],
    ["for another author than calls", () => serviceEntry("/x"), () => dave, "not-the-author"],
    [
      "with a body that is none",
      () => serviceEntry("/x", [ready(bob)], { body: {} }),
      () => bob,
      "malformed-body",
    ],
    [
      "of an unknown kind",
      () => serviceEntry("/x", [ready(bob)], { kind: "no.kind" }),
      () => bob,
      "unauthorised",
    ],
    [
      "that is a recovery of the log",
      () =>
        serviceEntry("/x", [ready(bob)], {
          kind: "log.recover",
          body: {
            generation: 2,
            size: 1,
            root: base64Of(running.writer.tree.root(1)),
            logKey: verifierKeyOf(signerNamed("example.org/trust-log-2")),
          },
        }),
      () => bob,
      "offline-only",
    ],
    [
      "that has expired",
      () => serviceEntry("/x", [ready(bob)], { lifetimeSeconds: -1 }),
      () => bob,
      "expired",
    ],
    [
      "that never ends",
      () => serviceEntry("/x", [ready(bob)], { lifetimeSeconds: 0 }),
      () => bob,
      "without-end",
    ],
    [
      "that ends in a year",
      () => serviceEntry("/x", [ready(bob)], { lifetimeSeconds: 31_536_000 }),
      () => bob,
      "without-end",
    ],
    [
      "whose sequence number was used",
      () => serviceEntry("/x", [domain.operator], { ahead: -1 }),
      () => domain.operator,
      "replayed",
    ],
    [
      "that has all of its signatures",
      () => serviceEntry("/x", [ready(bob), ready(dave), ready(carol)]),
      () => bob,
      "nothing-missing",
    ],
    [
      "over 32 KiB",
      () => serviceEntry("/x", [ready(bob)], { body: { ...serviceBody("/x"), team: "x".repeat(33_000) } }),
      () => bob,
      "too-large",
    ],
  ])("%s", async (_what, entry, caller, reason) => {
    const size = running.writer.tree.size;

    expect(await proposeAs(caller(), entry())).toBe(`PermissionDenied ${reason}`);

    expect(await waiting()).toEqual([]);
    expect(running.writer.tree.size).toBe(size);
  });
});

describe("a proposal finds no room", () => {
  beforeEach(found);
  afterEach(close);

  it("under a number that another proposal of the same author has", async () => {
    await proposeAs(bob, serviceEntry("/shop/a"));

    expect(await proposeAs(bob, serviceEntry("/shop/b"))).toBe("PermissionDenied sequence-taken");
    expect(await proposeAs(bob, serviceEntry("/shop/b", [ready(bob)], { ahead: 1 }))).toBe("ok");
  });

  it("where its author has too many already, and another author's is taken all the same", async () => {
    const outcomes: string[] = [];
    for (let ahead = 0; ahead < 17; ahead += 1)
      outcomes.push(await proposeAs(bob, serviceEntry(`/shop/s${ahead}`, [ready(bob)], { ahead })));

    expect(outcomes.slice(0, 16)).toEqual(Array.from({ length: 16 }, () => "ok"));
    expect(outcomes[16]).toBe("PermissionDenied too-many-proposals");
    expect(await proposeAs(dave, serviceEntry("/shop/d", [ready(dave)]))).toBe("ok");
  });
});

describe("an approval is refused", () => {
  beforeEach(found);
  afterEach(close);

  const entry = (): Uint8Array => serviceEntry("/shop/a");

  test.each<[string, () => NoteSigner | undefined, string]>([
    ["of the author once more", () => bob, "PermissionDenied nothing-new"],
    ["of a viewer", () => victor, "PermissionDenied wrong-role"],
  ])("%s", async (_who, signer, outcome) => {
    await proposeAs(bob, entry());

    expect(await approveAs(signer(), entry())).toBe(outcome);
    expect(await waiting()).toEqual(["/shop/a"]);
  });

  it("of the author's own second key, in whatever role", async () => {
    const bobApproves = await (async () => {
      const signer = signerNamed("example.org/approver/bob");
      const body = { name: signer.name, role: "approver", publicKey: keyTextOf(signer) };
      const signers = [domain.operator, ready(dave), ready(carol)];
      const put = personsEntry(running.writer.state, signers, { kind: "key.put", body });
      expect(await running.writer.submit([put])).toMatchObject({ ok: true });
      return signer;
    })();
    await proposeAs(bob, entry());

    expect(await approveAs(bobApproves, entry())).toBe("PermissionDenied unauthorised");
    expect(await approveAs(dave, entry())).toBe("waits");
  });

  it("with a signature that somebody made up", async () => {
    await proposeAs(bob, entry());
    using calls = await adminAs(running, dave);
    const forged = signNote(noteTextOf(entry()), [{ ...signerNamed("x"), name: ready(carol).name }]);

    expect(await approveWith(calls, forged)).toBe("PermissionDenied unauthorised");
    expect(await approveAs(carol, entry())).toBe("waits");
  });

  it("over another text, and of what is not there", async () => {
    await proposeAs(bob, entry());

    expect(await approveAs(dave, serviceEntry("/shop/b"))).toBe("PermissionDenied unknown-proposal");
  });
});

describe("what can never take effect goes", () => {
  beforeEach(found);
  afterEach(close);

  it("when it expires by epoch time", async () => {
    const entry = serviceEntry("/shop/a", [ready(bob)], { lifetimeSeconds: 60 });
    await proposeAs(bob, entry);
    await putEpoch(running, 61);

    expect(await waiting()).toEqual([]);
    expect(await approveAs(dave, entry)).toBe("PermissionDenied unknown-proposal");
    expect(await readdir(join(folder.path, "proposals"))).toEqual([]);
  });

  it("when its number was used by another entry", async () => {
    await proposeAs(bob, serviceEntry("/shop/a"));
    const body = { from: "/a", to: "/b", effect: "allow", methods: [], paths: [] };
    const rule = personsEntry(running.writer.state, [ready(bob)], { kind: "rule.put", body });
    expect(await running.writer.submit([rule])).toMatchObject({ ok: true });

    expect(await waiting()).toEqual([]);
  });

  it("when it is withdrawn by its author or an approver, and by nobody else, and only its author brings it back", async () => {
    const entry = serviceEntry("/shop/a");
    const withdrawAs = async (signer: NoteSigner | undefined): Promise<string> => {
      using calls = await adminAs(running, signer);
      const [proposal] = (await calls.admin.listProposals({})).proposals;
      return await outcomeOf(calls.admin.withdrawProposal({ id: proposal?.id ?? "none" }));
    };
    await proposeAs(bob, entry);

    expect(await withdrawAs(dave)).toBe("PermissionDenied not-yours");
    expect(await withdrawAs(carol)).toBe("ok");
    expect(await approveAs(dave, entry)).toBe("PermissionDenied unknown-proposal");
    expect(await proposeAs(dave, entry)).toBe("PermissionDenied not-the-author");
    expect(await proposeAs(bob, entry)).toBe("ok");
    expect(await withdrawAs(bob)).toBe("ok");
    expect(await waiting()).toEqual([]);
  });

  it("when its file is not what was written, at the next start", async () => {
    const proposals = join(folder.path, "proposals");
    await proposeAs(bob, serviceEntry("/shop/a"));
    const [name = ""] = await readdir(proposals);
    await writeFile(join(proposals, `${"0".repeat(64)}.entry`), "no entry\n");
    const another = serviceEntry("/shop/b", [ready(bob)], { ahead: 1 });
    await writeFile(join(proposals, `${"1".repeat(64)}.entry`), another);
    await writeFile(join(proposals, `${name}.1-1.tmp`), "half");
    await restart();

    expect(await waiting()).toEqual(["/shop/a"]);
    expect(await readdir(proposals)).toEqual([name]);
  });
});

describe("the thresholds of the moment of ordering decide", () => {
  beforeEach(found);
  afterEach(close);

  it("when they were raised meanwhile", async () => {
    await grant("service.put", 2, 0);
    const entry = serviceEntry("/shop/a");
    await proposeAs(bob, entry);
    await grant("service.put", 2, 1);

    expect(await approveAs(dave, entry)).toBe("waits");
    expect(await approveAs(carol, entry)).toBe("ordered");
  });

  it("when they were lowered meanwhile: to sign it again is enough, and an approval too many does no harm", async () => {
    const entry = serviceEntry("/shop/a");
    await proposeAs(bob, entry);
    await approveAs(carol, entry);
    await grant("service.put", 1, 0);

    expect(await approveAs(bob, entry)).toBe("ordered");
    expect(hasService("/shop/a")).toBe(true);
  });

  it("when the key of somebody who had signed was removed", async () => {
    const entry = serviceEntry("/shop/a");
    await proposeAs(bob, entry);
    await approveAs(dave, entry);
    const removal = personsEntry(running.writer.state, [domain.operator, ready(bob), ready(carol)], {
      kind: "key.remove",
      body: { name: ready(dave).name },
      ahead: 1,
    });
    expect(await running.writer.submit([removal])).toMatchObject({ ok: true });

    expect(await approveAs(carol, entry)).toBe("waits");
    expect(await approveAs(domain.operator, entry)).toBe("ordered");
  });
});
