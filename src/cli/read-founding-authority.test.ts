import { randomBytes } from "node:crypto";
import { chmod, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { beforeAll, expect, test } from "vitest";
import { temporaryFolder } from "../../test/contracts/temporary-folder.ts";
import { generateP256, pemOfPrivateKey } from "../crypto/index.ts";
import { createRoot, parseTrustDomain } from "../identity/index.ts";
import { pemOfCertificate } from "../transport/index.ts";
import { readFoundingAuthority } from "./read-founding-authority.ts";
import { systemClock } from "./system.ts";

const parsed = parseTrustDomain("example.org");
if (!parsed.ok) throw new Error(parsed.reason);
const trustDomain = parsed.value;
const folder = await temporaryFolder();
const caCertificate = join(folder.path, "root.pem");
const caKey = join(folder.path, "root.key");
const files = { caCertificate, caKey, keepCaKey: true };

beforeAll(async () => {
  const { privateKey } = generateP256();
  const root = createRoot({ trustDomain, privateKey }, { clock: systemClock, randomBytes });
  await writeFile(caCertificate, pemOfCertificate(root.certificate.der));
  await writeFile(caKey, pemOfPrivateKey(privateKey), { mode: 0o600 });
  return () => folder[Symbol.asyncDispose]();
});

test("reads a root and its key, and hands the key on only where it is to be kept", async () => {
  const kept = await readFoundingAuthority(trustDomain, files);
  const used = await readFoundingAuthority(trustDomain, { ...files, keepCaKey: false });

  expect([kept?.root === undefined, used?.root === undefined]).toEqual([false, true]);
  expect(used?.rootCertificate).toEqual(kept?.rootCertificate);
});

test.each([0o640, 0o604, 0o620])("takes no key of mode %o", async (mode) => {
  await chmod(caKey, mode);
  try {
    await expect(readFoundingAuthority(trustDomain, files)).rejects.toThrow("chmod 600");
  } finally {
    await chmod(caKey, 0o600);
  }
});

test("says which file is missing, and which is not what it should be", async () => {
  const noKey = readFoundingAuthority(trustDomain, { ...files, caKey: `${caKey}.gone` });
  await expect(noKey).rejects.toThrow("root.key.gone");
  const noCertificate = readFoundingAuthority(trustDomain, { ...files, caCertificate: caKey });
  await expect(noCertificate).rejects.toThrow("not-a-chain");
  await chmod(caCertificate, 0o600);
  const twice = readFoundingAuthority(trustDomain, { ...files, caKey: caCertificate });
  await expect(twice).rejects.toThrow("holds no private key in PEM");
});
