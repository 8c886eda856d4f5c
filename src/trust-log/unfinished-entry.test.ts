import { expect, it, test } from "vitest";
import { keyTextOf, SmallTrustLog, serviceBody, signerNamed } from "../../test/fakes/small-trust-log.ts";
import { foldEntry, judgeUnfinished, type NoteSigner, personOf } from "./index.ts";

const log = new SmallTrustLog();
const [alice, bob] = log.operators;
const people = {
  carol: enter("approver", "carol"),
  dora: enter("operator", "dora"),
  doraApproves: enter("approver", "dora"),
  erin: enter("viewer", "erin"),
  frank: enter("operator", "frank"),
};
log.put("key.remove", { name: people.frank.name });
log.put("authority.put", {
  kinds: ["service.put"],
  grant: { role: "operator", signatures: 2, approvals: 1 },
});

function enter(role: string, person: string): NoteSigner {
  const signer = signerNamed(`example.org/${role}/${person}`);
  log.put("key.put", { name: signer.name, role, publicKey: keyTextOf(signer) });
  return signer;
}

function judge(by: readonly NoteSigner[]): ReturnType<typeof judgeUnfinished> {
  return judgeUnfinished(log.state, log.entry("service.put", serviceBody("/a"), { by }));
}

const impostor = { ...signerNamed("x"), name: people.carol.name };

test.each<[string, readonly NoteSigner[], string, readonly string[]]>([
  ["its author", [alice], "1+1", []],
  ["two operators", [alice, bob], "0+1", []],
  ["two operators and an approver", [alice, bob, people.carol], "0+0", []],
  ["two operators and a removed one", [alice, bob, people.frank], "0+1", ["unknown key"]],
  ["an operator and a viewer", [alice, people.erin], "1+1", ["viewers do not sign this"]],
  ["an operator and an impostor of an approver", [alice, impostor], "1+1", ["bad signature"]],
  ["an operator and the issuer", [alice, log.issuer], "1+1", ["issuers do not sign this"]],
  ["an author who approves it", [people.dora, people.doraApproves], "1+1", ["dora has signed already"]],
])("counts the signatures of %s", (_who, by, missing, whyNot) => {
  const judged = judge(by);

  if (!judged.ok) throw new Error(judged.detail);
  const { signatures, approvals } = judged.value.missing;
  expect(`${signatures}+${approvals}`).toBe(missing);
  expect(judged.value.uncounted.map(({ why }) => why)).toEqual(whyNot);
});

it("keeps the signatures that count and no others, so that the fold takes what is complete", () => {
  const judged = judge([alice, bob, people.carol, people.erin, people.frank]);
  if (!judged.ok) throw new Error(judged.detail);

  const whole = foldEntry(log.state, log.tree, log.entry("service.put", serviceBody("/b"), { by: [alice] }));
  expect(whole).toMatchObject({ ok: true, value: { hasEffect: false } });
  expect(foldEntry(log.state, log.tree, judged.value.entry)).toMatchObject({
    ok: true,
    value: { hasEffect: true },
  });
});

test.each([
  ["alone", "alone"],
  ["example.org/operator/alice", "alice"],
  ["example.org/approver/alice", "alice"],
  ["example.org/issuer/alice", "example.org/issuer/alice"],
  ["example.org/operator/a/b", "example.org/operator/a/b"],
])("reads whose key %s is", (name, person) => {
  expect(personOf(name)).toBe(person);
});
