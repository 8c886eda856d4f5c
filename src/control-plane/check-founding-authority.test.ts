import { generateKeyPairSync, type KeyObject, randomBytes } from "node:crypto";
import { join } from "node:path";
import { expect, test } from "vitest";
import { temporaryFolder } from "../../test/contracts/temporary-folder.ts";
import { fakeClock } from "../../test/fakes/fake-clock.ts";
import { silentLog } from "../../test/fakes/silent-log.ts";
import { signerNamed } from "../../test/fakes/small-trust-log.ts";
import {
  authorityConstraints,
  buildCertificate,
  type CertificateExtension,
  distinguishedName,
  endEntityConstraints,
  exportPublicKey,
  generateP256,
  keyUsageExtension,
  subjectKeyIdExtension,
  uriHostConstraint,
  uriNamesExtension,
} from "../crypto/index.ts";
import { parseTrustDomain } from "../identity/index.ts";
import { openMemoryKeyStore } from "../storage/index.ts";
import { checkFoundingAuthority } from "./check-founding-authority.ts";
import { foundDomain } from "./found-domain.ts";
import { HeldAuthorities } from "./held-authorities.ts";
import { openLogFiles } from "./log-files.ts";
import { loadLogKeys } from "./log-keys.ts";
import { LogWriter } from "./log-writer.ts";

const clock = fakeClock();
const world = { clock, randomBytes };
const day = 86_400;
const parsed = parseTrustDomain("example.org");
if (!parsed.ok) throw new Error(parsed.reason);
const trustDomain = parsed.value;

interface Made {
  readonly der: Uint8Array;
  readonly subject: Uint8Array;
  readonly privateKey: KeyObject;
}

interface Wish {
  readonly issuer?: Made;
  readonly fromDays?: number;
  readonly toDays?: number;
  readonly extensions?: (keyInfo: Uint8Array) => readonly CertificateExtension[];
  readonly keys?: { readonly privateKey: KeyObject };
}

const usage = keyUsageExtension(["keyCertSign", "cRLSign"]);

/** A CA as other software makes one: self-signed, and without a word of SPIFFE, unless it is wished otherwise. */
function make(name: string, wish: Wish = {}): Made {
  const { issuer, fromDays = -1, toDays = 365, keys = generateP256() } = wish;
  const subject = distinguishedName("Acme", name);
  const publicKeyInfo = exportPublicKey(keys.privateKey);
  const plain = [authorityConstraints(1), usage, subjectKeyIdExtension(publicKeyInfo)];
  const der = buildCertificate(
    {
      serial: Uint8Array.of(1, 2, 3),
      issuer: issuer?.subject ?? subject,
      subject,
      notBeforeSeconds: Math.floor(clock.nowSeconds()) + fromDays * day,
      notAfterSeconds: Math.floor(clock.nowSeconds()) + toDays * day,
      publicKeyInfo,
      extensions: wish.extensions?.(publicKeyInfo) ?? plain,
    },
    (issuer ?? keys).privateKey,
  );
  return { der, subject, privateKey: keys.privateKey };
}

const named = uriNamesExtension(["spiffe://example.org"]);

function intermediateExtensions(keyInfo: Uint8Array): readonly CertificateExtension[] {
  return [authorityConstraints(0), usage, subjectKeyIdExtension(keyInfo), named];
}

function check(
  certificates: readonly Uint8Array[],
  privateKey: KeyObject,
): ReturnType<typeof checkFoundingAuthority> {
  const given = { trustDomain, certificates, privateKey, intermediateLifetimeSeconds: 90 * day };
  return checkFoundingAuthority(given, world);
}

const root = make("root");
const issuer = make("issuer", { issuer: root, extensions: intermediateExtensions });

test("takes a root that names no trust domain, and makes an intermediate of this one under it", () => {
  const checked = check([root.der], root.privateKey);

  if (!checked.ok) throw new Error(checked.detail);
  expect(checked.value.rootCertificate).toEqual(root.der);
  expect(checked.value.intermediate.certificate.uriNames).toEqual(["spiffe://example.org"]);
});

test("takes an intermediate, whose root's key is elsewhere", () => {
  const checked = check([issuer.der, root.der], issuer.privateKey);

  if (!checked.ok) throw new Error(checked.detail);
  expect(checked.value.root).toBeUndefined();
  expect(checked.value.intermediate.certificate.der).toEqual(issuer.der);
});

const noCa = (keyInfo: Uint8Array): CertificateExtension[] => [
  endEntityConstraints(),
  usage,
  subjectKeyIdExtension(keyInfo),
];
const noCertSign = (keyInfo: Uint8Array): CertificateExtension[] => [
  authorityConstraints(1),
  keyUsageExtension(["cRLSign"]),
  subjectKeyIdExtension(keyInfo),
];
const alone = (made: Made): [Uint8Array[], KeyObject] => [[made.der], made.privateKey];

const refused: readonly (readonly [string, string, readonly [Uint8Array[], KeyObject]])[] = [
  ["not-a-chain", "nothing", [[], root.privateKey]],
  ["not-a-chain", "three certificates", [[issuer.der, issuer.der, root.der], issuer.privateKey]],
  ["malformed-certificate", "no certificate", [[Uint8Array.of(1, 2, 3)], root.privateKey]],
  ["not-a-root", "an intermediate without its root", alone(issuer)],
  ["not-a-root", "the root first", [[root.der, issuer.der], root.privateKey]],
  ["not-a-chain", "another root", [[issuer.der, make("other").der], issuer.privateKey]],
  ["not-a-chain", "another root of the same name", [[issuer.der, make("root").der], issuer.privateKey]],
  ["not-an-authority", "no CA", alone(make("leaf", { extensions: noCa }))],
  ["not-an-authority", "one that may not sign certificates", alone(make("crl", { extensions: noCertSign }))],
  [
    "no-key-identifier",
    "one that could not be revoked",
    alone(make("bare", { extensions: () => [authorityConstraints(1), usage] })),
  ],
  ["not-yet-valid", "one of tomorrow", alone(make("early", { fromDays: 1 }))],
  ["expired", "one of yesterday", alone(make("late", { fromDays: -2, toDays: -1 }))],
  [
    "expired",
    "a good one under a root of yesterday",
    ((): [Uint8Array[], KeyObject] => {
      const late = make("late", { fromDays: -2, toDays: -1 });
      const below = make("issuer", { issuer: late, extensions: intermediateExtensions });
      return [[below.der, late.der], below.privateKey];
    })(),
  ],
  [
    "path-length",
    "one that permits none below it",
    alone(
      make("short", { extensions: (key) => [authorityConstraints(0), usage, subjectKeyIdExtension(key)] }),
    ),
  ],
  ["key-mismatch", "another key", [[root.der], generateP256().privateKey]],
  ["key-mismatch", "the root's key with an intermediate", [[issuer.der, root.der], root.privateKey]],
  ["wrong-key-type", "Ed25519", alone(make("edwards", { keys: generateKeyPairSync("ed25519") }))],
  [
    "other-trust-domain",
    "a root of another trust domain",
    alone(
      make("bank", {
        extensions: (key) => [
          authorityConstraints(1),
          usage,
          subjectKeyIdExtension(key),
          uriNamesExtension(["spiffe://bank.example"]),
        ],
      }),
    ),
  ],
  [
    "other-trust-domain",
    "an intermediate that names none",
    ((): [Uint8Array[], KeyObject] => {
      const below = make("issuer", { issuer: root });
      return [[below.der, root.der], below.privateKey];
    })(),
  ],
  [
    "unfit-certificate",
    "names of another domain alone",
    alone(
      make("narrow", {
        extensions: (key) => [
          authorityConstraints(1),
          usage,
          subjectKeyIdExtension(key),
          uriHostConstraint("bank.example"),
        ],
      }),
    ),
  ],
];

test.each(refused)("refuses as %s %s", (reason, _what, [certificates, key]) => {
  expect(check(certificates, key)).toMatchObject({ ok: false, reason });
});

test.each([
  ["renews its intermediate, where the root's key is kept", true],
  ["says that it cannot, where that is elsewhere", false],
] as const)("a domain that is founded with it %s", async (_what, isKept) => {
  await using folder = await temporaryFolder();
  const checked = check([root.der], root.privateKey);
  if (!checked.ok) throw new Error(checked.detail);
  const keyStore = openMemoryKeyStore();
  const keys = await loadLogKeys(keyStore, trustDomain);
  const { entries } = await foundDomain({
    trustDomain,
    isTestDomain: true,
    operator: signerNamed("example.org/operator/alice"),
    keys,
    keyStore,
    ...world,
    authorities: isKept ? checked.value : { ...checked.value, root: undefined },
  });
  await using storage = await openLogFiles(join(folder.path, "log"));
  await storage.journal.appendAll(entries);
  await using writer = await LogWriter.open({ storage, keys, clock, log: silentLog });
  const common = { trustDomain, keyStore, writer, clock, randomBytes, log: silentLog };
  const held = await HeldAuthorities.open({ ...common, intermediateLifetimeSeconds: 90 * day });

  expect((await held.issuing())?.certificate.der).toEqual(checked.value.intermediate.certificate.der);
  expect(await held.prepareIntermediate()).toMatchObject(
    isKept ? { ok: true } : { ok: false, reason: "no-root-key" },
  );
});
