import { randomBytes } from "node:crypto";
import { expect, test } from "vitest";
import { fakeClock } from "../../test/fakes/fake-clock.ts";
import { signerNamed } from "../../test/fakes/small-trust-log.ts";
import { base64Of, hexOf } from "../base/bytes.ts";
import type { JsonObject } from "../base/canonical-json.ts";
import { generateP256, sha256 } from "../crypto/index.ts";
import {
  type CertificateAuthority,
  createIntermediate,
  createRoot,
  parseTrustDomain,
} from "../identity/index.ts";
import { entryVersion, signEntry, TrustState } from "../trust-log/index.ts";
import {
  authorityViews,
  instancesUnder,
  nextStep,
  requireAuthority,
  statusInWords,
  unattributedInstances,
} from "./authority-views.ts";
import { auditEntries } from "./commands/audit-authorities.ts";

const clock = fakeClock();
const now = clock.nowSeconds();
const hour = 3600;

/** Two roots with an intermediate each, the second pair an hour younger; the first intermediate issues. */
function openWorld() {
  const trustDomain = parseTrustDomain("example.org");
  if (!trustDomain.ok) throw new Error(trustDomain.reason);
  const state = new TrustState();
  const key = () => generateP256().privateKey;
  const add = (authority: CertificateAuthority, isTrusted: boolean): CertificateAuthority => {
    const certificate = base64Of(authority.certificate.der);
    state.certificateAuthorities.set(hexOf(sha256(authority.certificate.der)), { certificate, isTrusted });
    return authority;
  };
  const chain = (ageSeconds: number): readonly [CertificateAuthority, CertificateAuthority] => {
    const world = { clock: fakeClock(now - ageSeconds), randomBytes };
    const root = add(createRoot({ trustDomain: trustDomain.value, privateKey: key() }, world), true);
    return [root, add(createIntermediate(root, { privateKey: key() }, world), false)];
  };
  const [first, second] = [chain(hour), chain(0)];
  const idOf = (authority: CertificateAuthority): string => hexOf(sha256(authority.certificate.der));
  const held = [...first, ...second].map(idOf);
  const views = (issuing = idOf(first[1])) => authorityViews(state, { held, issuing });
  const words = (authority: CertificateAuthority, issuing?: string): string => {
    const all = views(issuing);
    return statusInWords(requireAuthority(all, idOf(authority)), all, now);
  };
  const next = (authority: CertificateAuthority, issuing?: string): string => {
    const all = views(issuing);
    return nextStep(requireAuthority(all, idOf(authority)), all, now);
  };
  const certify = (
    sha: string,
    instance: string,
    by: CertificateAuthority | undefined,
    endsIn: number,
  ): void => {
    const keyId = by?.certificate.subjectKeyId;
    state.certificates.set(sha, {
      spiffeId: "spiffe://example.org/a",
      instance,
      serial: "01",
      notAfterSeconds: now + endsIn,
      ...(keyId === undefined ? {} : { authorityKeyId: keyId }),
    });
  };
  return { state, first, second, idOf, views, words, next, certify };
}

test("shows each root with what is below it, and which of them is in use", () => {
  const { first, second, idOf, views, words } = openWorld();

  const all = views();

  expect(all.map(({ id }) => id)).toEqual([...first, ...second].map(idOf));
  expect([...first, ...second].map((one) => words(one))).toEqual([
    "in use",
    "in use",
    "prepared",
    "prepared",
  ]);
});

test("counts an instance for the authority of its newest certificate alone", () => {
  const { state, first, second, idOf, views, certify } = openWorld();
  certify("a1", "one", first[1], hour);
  certify("a2", "one", second[1], 2 * hour);
  certify("b1", "two", first[1], hour);
  certify("c1", "three", undefined, hour);

  const counts = [first[1], second[1]].map((one) => {
    const { certificates, instances } = requireAuthority(views(), idOf(one));
    return [certificates, instances];
  });

  expect(counts).toEqual([
    [2, 1],
    [1, 1],
  ]);
  expect(instancesUnder(views(), idOf(first[0]))).toBe(1);
  expect(unattributedInstances(state)).toBe(1);
});

test("says what comes next in the life of an authority", () => {
  const { state, first, second, idOf, next, words, certify } = openWorld();
  const [oldRoot, old] = first;
  const [newRoot, young] = second;
  certify("a1", "one", old, hour);
  const prepared = next(young);

  for (const one of second) state.authorityStatus.set(idOf(one), { status: "active", sinceSeconds: now });
  const replaced = [words(old, idOf(young)), next(old, idOf(young))];
  state.authorityStatus.set(idOf(oldRoot), { status: "tainted", sinceSeconds: now });
  const waiting = next(oldRoot, idOf(young));
  certify("a2", "one", young, 2 * hour);
  const done = next(oldRoot, idOf(young));
  state.authorityStatus.set(idOf(oldRoot), { status: "revoked", sinceSeconds: now });

  expect(prepared).toBe(`troth ca activate ${idOf(young).slice(0, 12)}`);
  expect(replaced).toEqual(["old", `troth ca taint ${idOf(old).slice(0, 12)} has its certificates replaced`]);
  expect(waiting).toBe("1 instances have yet to replace their certificates");
  expect(done).toBe(`troth ca revoke ${idOf(oldRoot).slice(0, 12)} --reason superseded`);
  expect(words(old, idOf(young))).toBe("revoked");
  expect(next(newRoot, idOf(young))).toBe("");
});

test("finds an authority by how its id begins, and refuses what is too short, unknown or no id", () => {
  const { first, idOf, views } = openWorld();
  const id = idOf(first[0]);

  expect(requireAuthority(views(), id.slice(0, 16)).id).toBe(id);
  for (const text of [id.slice(0, 3), "xyz1", "0".repeat(64)])
    expect(() => requireAuthority(views(), text)).toThrow(/troth ca show/);
});

test("an audit finds what is too long, of an unknown key, outlives its authority or came after the taint", () => {
  const { state, first, idOf } = openWorld();
  const keyId = first[1].certificate.subjectKeyId ?? "";
  const issuance = (authorityKeyId: string, seconds: number): Uint8Array =>
    entryOf("svid.put", {
      spiffeId: "spiffe://example.org/a",
      authorityKeyId,
      notBeforeSeconds: now,
      notAfterSeconds: now + seconds,
    });

  const audit = auditEntries(
    [
      issuance(keyId, hour),
      issuance(keyId, 30 * hour),
      issuance("00".repeat(20), hour),
      issuance(keyId, 91 * 24 * hour),
      entryOf("ca.taint", { authority: idOf(first[1]) }),
      issuance(keyId, hour),
      entryOf("svid.issue", {
        spiffeId: "spiffe://example.org/a",
        notBeforeSeconds: now,
        notAfterSeconds: now,
      }),
    ],
    state,
    now,
  );

  expect(audit.findings.map(({ index, finding }) => [index, finding])).toEqual([
    [1, "too-long"],
    [2, "unknown-authority"],
    [3, "too-long"],
    [3, "outlives-authority"],
    [5, "signed-when-tainted"],
  ]);
  expect(audit).toMatchObject({ certificates: 6, unattributed: 1 });
});

test("an audit finds an intermediate that nobody uses, and one under no trusted root", () => {
  const { state, first, second, idOf } = openWorld();
  const { certificate } = second[0];
  state.certificateAuthorities.set(idOf(second[0]), {
    certificate: base64Of(certificate.der),
    isTrusted: false,
  });

  const { findings } = auditEntries([], state, now + 8 * 24 * hour);

  expect(findings).toEqual([
    expect.objectContaining({
      finding: "unused-authority",
      detail: expect.stringContaining(idOf(first[1]).slice(0, 12)),
    }),
    expect.objectContaining({ finding: "untrusted-authority" }),
  ]);
});

function entryOf(kind: string, body: JsonObject): Uint8Array {
  const author = signerNamed("example.org/issuer");
  const statement = { kind, version: entryVersion, log: "log", author: author.name, sequence: 1, body };
  return signEntry(statement, [author]);
}
