import { describe, expect, test } from "vitest";
import { foundedAtSeconds, keyTextOf, SmallTrustLog, signerNamed } from "../../test/fakes/small-trust-log.ts";
import type { NoteSigner } from "./signed-note.ts";

const rule = { from: "/a", to: "/b", effect: "allow", methods: [], paths: [] };

/** A log with people in it who have a second key as approvers, and one who approves only. */
function peopledLog(): { readonly log: SmallTrustLog; readonly of: (name: string) => NoteSigner } {
  const log = new SmallTrustLog();
  const signers = new Map<string, NoteSigner>(log.operators.map((signer) => [signer.name, signer]));
  for (const person of ["alice", "bob", "dave", "erin"]) {
    const signer = signerNamed(`example.org/approver/${person}`);
    log.put("key.put", { name: signer.name, role: "approver", publicKey: keyTextOf(signer) });
    signers.set(signer.name, signer);
  }
  const of = (name: string): NoteSigner => {
    const signer = signers.get(`example.org/${name}`);
    if (signer === undefined) throw new Error(name);
    return signer;
  };
  return { log, of };
}

function grant(log: SmallTrustLog, signatures: number, approvals: number): void {
  log.put("authority.put", { kinds: ["rule.put"], grant: { role: "operator", signatures, approvals } });
}

describe("who counts, where a rule takes two operators and an approval", () => {
  const rows: readonly (readonly [string, string, readonly string[]])[] = [
    ["takes effect", "two operators and another person", ["operator/alice", "operator/bob", "approver/dave"]],
    ["takes effect", "two other operators", ["operator/bob", "operator/carol", "approver/alice"]],
    ["unauthorised", "one operator and another person", ["operator/alice", "approver/dave"]],
    ["unauthorised", "two operators alone", ["operator/alice", "operator/bob"]],
    [
      "unauthorised",
      "the author's second key as approver",
      ["operator/alice", "operator/bob", "approver/alice"],
    ],
    [
      "unauthorised",
      "a co-signer's second key as approver",
      ["operator/alice", "operator/bob", "approver/bob"],
    ],
    [
      "unauthorised",
      "second keys of both",
      ["operator/alice", "operator/bob", "approver/alice", "approver/bob"],
    ],
    [
      "unauthorised",
      "an approver in an operator's place",
      ["operator/alice", "approver/bob", "approver/dave"],
    ],
    ["unauthorised", "approvers alone", ["approver/alice", "approver/bob", "approver/dave"]],
  ];
  test.each(rows)("%s: %s", (outcome, _, names) => {
    const { log, of } = peopledLog();
    grant(log, 2, 1);

    const folded = log.order(log.entry("rule.put", rule, { by: names.map(of) }));

    expect(folded.ok && folded.value.hasEffect ? "takes effect" : folded.ok && folded.value).toEqual(
      outcome === "takes effect" ? outcome : expect.objectContaining({ reason: outcome }),
    );
  });

  test("two approvals are those of two people", () => {
    const { log, of } = peopledLog();
    grant(log, 1, 2);
    const [alice, dave, erin] = [of("operator/alice"), of("approver/dave"), of("approver/erin")];

    expect(log.order(log.entry("rule.put", rule, { by: [alice, of("approver/alice"), dave] }))).toMatchObject(
      {
        value: { reason: "unauthorised", detail: "1 of 2 approvals by other people" },
      },
    );
    log.put("rule.put", rule, { by: [alice, dave, erin] });
  });

  test("an approver who was removed does not count, nor may stand there", () => {
    const { log, of } = peopledLog();
    grant(log, 1, 1);
    const by = [of("operator/alice"), of("approver/dave")];
    const collected = log.entry("rule.put", rule, { by, sequence: 9 });
    log.put(
      "key.remove",
      { name: "example.org/approver/dave" },
      { by: [...by.slice(0, 1), of("approver/erin")] },
    );

    expect(log.order(collected)).toMatchObject({
      value: { reason: "unauthorised", detail: "a signature by example.org/approver/dave" },
    });
  });

  test("a second signature that comes after the entry's end is too late: expired", () => {
    const { log, of } = peopledLog();
    grant(log, 2, 0);
    const collected = log.entry("rule.put", rule, {
      by: [of("operator/alice"), of("operator/bob")],
      expiresAtSeconds: foundedAtSeconds + 600,
    });
    log.putEpoch(601);

    expect(log.order(collected)).toMatchObject({ value: { reason: "expired" } });
  });

  test("a collected entry counts once, whoever has signed it besides: replayed", () => {
    const { log, of } = peopledLog();
    grant(log, 2, 0);
    const [alice, bob, carol] = [of("operator/alice"), of("operator/bob"), of("operator/carol")];
    const last = log.state.authors.get(alice.name)?.sequence ?? 0;
    const entry = log.entry("rule.put", rule, { by: [alice, bob], sequence: last + 1 });
    const again = log.entry("rule.put", rule, { by: [alice, carol], sequence: last + 1 });
    expect(log.order(entry)).toMatchObject({ value: { hasEffect: true } });

    for (const replay of [entry, again])
      expect(log.order(replay)).toMatchObject({ value: { reason: "replayed" } });
  });
});

describe("a grant is refused", () => {
  const approval = { role: "operator", signatures: 1, approvals: 1 };

  test("where the same people would have to sign and to approve", () => {
    const log = new SmallTrustLog();
    const people = ["alice", "bob", "carol"].map((person) => signerNamed(`example.org/approver/${person}`));
    for (const { name, ...keys } of people)
      log.put("key.put", { name, role: "approver", publicKey: keyTextOf({ name, ...keys }) });

    const body = { kinds: ["rule.put"], grant: { role: "operator", signatures: 2, approvals: 2 } };

    expect(log.order(log.entry("authority.put", body))).toMatchObject({
      value: { reason: "conflict", detail: "rule.put takes 4 different people, and there are 3" },
    });
    log.put("authority.put", { ...body, grant: { ...approval, signatures: 2 } });
  });

  test("where approvers would approve of what approvers sign", () => {
    const { log } = peopledLog();

    const body = { kinds: ["rule.put"], grant: { ...approval, role: "approver" } };

    expect(log.order(log.entry("authority.put", body))).toMatchObject({ value: { reason: "conflict" } });
  });

  test.each(["authority.put", "key.put", "key.remove", "log.recover"])(
    "that gives %s to a control plane's key",
    (kind) => {
      const { log } = peopledLog();
      for (const role of ["issuer", "sequencer", "server"]) {
        const body = { kinds: [kind], grant: { role, signatures: 1, approvals: 0 } };
        expect(log.order(log.entry("authority.put", body))).toMatchObject({ value: { reason: "conflict" } });
      }
    },
  );
});
