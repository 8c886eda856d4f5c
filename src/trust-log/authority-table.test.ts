import fc from "fast-check";
import { expect, it } from "vitest";
import { base64Of, hexOf } from "../base/bytes.ts";
import {
  authorityConstraints,
  authorityKeyIdExtension,
  buildCertificate,
  distinguishedName,
  exportPublicKey,
  generateP256,
  keyUsageExtension,
  sha256,
  subjectKeyIdExtension,
} from "../crypto/index.ts";
import { authoritiesUnder, authorityKindOf, certificateAuthoritiesOf } from "./authority-status.ts";
import { TrustState } from "./trust-state.ts";

const keys = Array.from({ length: 4 }, () => generateP256());
/** Of each key, by itself and by every other one; and what is no certificate. */
const certificates = [
  ...keys.flatMap((_, subject) => keys.map((__, issuer) => authorityBy(subject, issuer))),
  new Uint8Array(100),
];

function authorityBy(subject: number, issuer: number): Uint8Array {
  const [own, signer] = [keys[subject], keys[issuer]];
  if (own === undefined || signer === undefined) throw new RangeError("no such key");
  const content = {
    serial: Uint8Array.of(1),
    issuer: distinguishedName("test", `n${issuer}`),
    subject: distinguishedName("test", `n${subject}`),
    notBeforeSeconds: 0,
    notAfterSeconds: 1_000,
    publicKeyInfo: exportPublicKey(own.publicKey),
    extensions: [
      authorityConstraints(1),
      keyUsageExtension(["keyCertSign"]),
      subjectKeyIdExtension(exportPublicKey(own.publicKey)),
      authorityKeyIdExtension(exportPublicKey(signer.publicKey)),
    ],
  };
  return buildCertificate(content, signer.privateKey);
}

const someSteps = fc.array(
  fc.record({
    at: fc.nat(certificates.length - 1),
    what: fc.constantFrom("show", "show", "trust", "forget", "revoke", "taint"),
  }),
  { maxLength: 30 },
);

it("finds whatever one would find by looking at all rows, before and after each change", () => {
  fc.assert(
    fc.property(someSteps, (steps) => {
      const state = new TrustState();
      for (const { at, what } of steps) {
        const der = certificates[at] ?? new Uint8Array(0);
        const id = hexOf(sha256(der));
        const row = { certificate: base64Of(der), isTrusted: what === "trust" };
        if (what === "forget") state.certificateAuthorities.delete(id);
        else if (what === "revoke") state.authorityStatus.set(id, { status: "revoked", sinceSeconds: 1 });
        else if (what === "taint") state.authorityStatus.set(id, { status: "tainted", sinceSeconds: 1 });
        else state.certificateAuthorities.set(id, row);

        const all = certificateAuthoritiesOf(state);
        for (const status of ["revoked", "tainted"] as const) {
          const own = all.filter((one) => one.status === status);
          const keyIds = own.map(({ certificate }) => certificate.subjectKeyId);
          const under = all.filter(
            (one) => own.includes(one) || keyIds.includes(one.certificate.authorityKeyId ?? "of none"),
          );
          expect(new Set(authoritiesUnder(state, status))).toEqual(new Set(under));
        }
        expect(authorityKindOf(state, id)).toBe(all.find((one) => one.id === id)?.kind);
      }
    }),
  );
});
