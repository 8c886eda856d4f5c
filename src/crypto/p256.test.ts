import { createPublicKey } from "node:crypto";
import { expect, test } from "vitest";
import { generateEd25519 } from "./ed25519.ts";
import {
  exportPrivateKey,
  exportPublicKey,
  generateP256,
  importPrivateKey,
  pemOfPrivateKey,
} from "./p256.ts";

test.each([
  ["P-256", generateP256()],
  ["Ed25519", generateEd25519()],
])("a private key on %s comes back from the bytes of the key store", (_name, { privateKey, publicKey }) => {
  const restored = importPrivateKey(exportPrivateKey(privateKey));

  expect(restored.equals(privateKey)).toBe(true);
  expect(exportPublicKey(restored)).toEqual(exportPublicKey(publicKey));
  expect(createPublicKey(pemOfPrivateKey(privateKey)).equals(publicKey)).toBe(true);
});

test("bytes that are no private key are a fault", () => {
  expect(() => importPrivateKey(Uint8Array.of(0x30, 0))).toThrow(Error);
});
