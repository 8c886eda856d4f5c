import { createPrivateKey } from "node:crypto";
import { describe, expect, test } from "vitest";
import { bytesOf, hexOf } from "../base/bytes.ts";
import { ed25519PublicKey, generateEd25519, publicKeyBytes, signEd25519, verifyEd25519 } from "./ed25519.ts";
import { generateP256 } from "./p256.ts";

const keys = generateEd25519();
const message = bytesOf("message");
const signature = signEd25519(keys.privateKey, message);

test("signs as RFC 8032 section 7.1 test 2 does", () => {
  const seed = "4ccd089b28ff96da9db6c346ec114e0f5b8a319f35aba624da8cf6ed4fb8a6fb";
  const der = Buffer.from(`302e020100300506032b657004220420${seed}`, "hex");
  const privateKey = createPrivateKey({ key: der, format: "der", type: "pkcs8" });

  expect(hexOf(publicKeyBytes(privateKey))).toBe(
    "3d4017c3e843895a92b70aa74d1b7ebc9c982ccf2ec4968cc0cd55f12af4660c",
  );
  expect(hexOf(signEd25519(privateKey, Uint8Array.of(0x72)))).toBe(
    "92a009a9f0d4cab8720e820b5f642540a2b27b5416503f8fb3762223ebdb69da" +
      "085ac1e43e15996e458f3613d0f11d8c387b2eaeb4302aeeb00d291612bb0c00",
  );
});

test("a public key comes back from its raw bytes", () => {
  const raw = publicKeyBytes(keys.publicKey);

  expect(raw.byteLength).toBe(32);
  expect(ed25519PublicKey(raw)?.equals(keys.publicKey)).toBe(true);
  expect(publicKeyBytes(keys.privateKey)).toEqual(raw);
});

test.each([0, 31, 33])("%s bytes are no public key", (length) => {
  expect(ed25519PublicKey(new Uint8Array(length))).toBeUndefined();
});

describe("verification", () => {
  test("holds for the signed message and its signer alone", () => {
    expect(verifyEd25519(keys.publicKey, message, signature)).toBe(true);
    expect(verifyEd25519(keys.publicKey, bytesOf("messag"), signature)).toBe(false);
    expect(verifyEd25519(generateEd25519().publicKey, message, signature)).toBe(false);
  });

  test.each([0, 63, 65])("is false for a signature of %s bytes", (length) => {
    expect(verifyEd25519(keys.publicKey, message, new Uint8Array(length))).toBe(false);
  });

  test("is false for any one bit of the signature flipped", () => {
    for (let bit = 0; bit < 512; bit += 1) {
      const flipped = Uint8Array.from(signature);
      flipped[bit >> 3] = (flipped[bit >> 3] ?? 0) ^ (1 << (bit & 7));
      expect(verifyEd25519(keys.publicKey, message, flipped)).toBe(false);
    }
  });

  test("is false, and does not throw, under a key of another kind or a point that is none", () => {
    expect(verifyEd25519(generateP256().publicKey, message, signature)).toBe(false);
    expect(verifyEd25519(keys.privateKey, message, signature)).toBe(false);
    const noPoint = ed25519PublicKey(new Uint8Array(32).fill(0xff));
    expect(noPoint !== undefined && verifyEd25519(noPoint, message, signature)).toBe(false);
  });
});

test("a key of another kind neither signs nor has raw bytes", () => {
  expect(() => signEd25519(generateP256().privateKey, message)).toThrow(/not an Ed25519 key/);
  expect(() => publicKeyBytes(generateP256().publicKey)).toThrow(/not an Ed25519 key/);
});
