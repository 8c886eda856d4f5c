import { createPrivateKey, createPublicKey } from "node:crypto";
import { expect, it } from "vitest";
import { bytesOf, bytesOfHex, hexOf } from "../base/bytes.ts";
import type { KeyPair } from "./ed25519.ts";
import { generateX25519, openSealed, sealedOverheadBytes, sealTo, x25519PublicKeyOf } from "./hpke.ts";

const text = bytesOf("Beauty is truth, truth beauty");
const binding = { info: bytesOf("troth/1 seal test"), about: bytesOf("request 1") };

function hex(value: string): Uint8Array {
  return bytesOfHex(value) ?? new Uint8Array(0);
}

/** The key pair with this private key; PKCS#8 of X25519 is this prefix and the key (RFC 8410). */
function pairOf(secret: string): KeyPair {
  const key = Buffer.from(`302e020100300506032b656e04220420${secret}`, "hex");
  const privateKey = createPrivateKey({ key, format: "der", type: "pkcs8" });
  return { privateKey, publicKey: createPublicKey(privateKey) };
}

it("seals as the vector of the RFC's authors for AES-256-GCM says", () => {
  const sealed = sealTo(
    hex("ac66bae9ffa270cf4a89ed9f274e30c0456babae2572aaaf002ff0d8884ab018"),
    { info: hex("4f6465206f6e2061204772656369616e2055726e"), about: hex("436f756e742d30") },
    text,
    pairOf("28e212563a8b6f068af7ff17400ff1baf23612b7a738bbaf5dfb321b2b5b431a"),
  );

  expect(hexOf(sealed?.subarray(32) ?? new Uint8Array(0))).toBe(
    "23ded2d5d90ea89d975dac4792b297240f194952d7421aacbff0474100052b6bb8aa58d18ef6c42b6960e2e28f",
  );
});

it("opens what another implementation has sealed", () => {
  // By pyca/cryptography 48, with no additional data.
  const sealed = hex(
    "263f087afd93c8f3a60e30d13d4d78c4058907220f0dd06d7b2c241880e1640b6a63589c289a60d472495c04d334b1ad72f2a86c996939afc4fa97f2ba09e0e1c438cbbb159bd43a2b6da28d23",
  );
  const recipient = pairOf("000102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f");

  expect(openSealed(recipient, { ...binding, about: new Uint8Array(0) }, sealed)).toEqual(text);
});

it("opens what it sealed, and nothing that was changed", () => {
  const recipient = generateX25519();
  const sealed = sealTo(x25519PublicKeyOf(recipient), binding, text) ?? new Uint8Array(0);

  expect(openSealed(recipient, binding, sealed)).toEqual(text);
  expect(sealed.byteLength).toBe(text.byteLength + sealedOverheadBytes);
  for (let place = 0; place < sealed.byteLength; place += 1) {
    const changed = sealed.map((byte, at) => (at === place ? byte ^ 1 : byte));
    expect(openSealed(recipient, binding, changed), `byte ${place}`).toBeUndefined();
  }
  for (let length = 0; length < sealed.byteLength; length += 1)
    expect(openSealed(recipient, binding, sealed.subarray(0, length)), `${length} bytes`).toBeUndefined();
});

it("opens nothing for another key, another use or another request", () => {
  const recipient = generateX25519();
  const sealed = sealTo(x25519PublicKeyOf(recipient), binding, text) ?? new Uint8Array(0);

  expect(openSealed(generateX25519(), binding, sealed)).toBeUndefined();
  expect(openSealed(recipient, { ...binding, info: bytesOf("troth/1 other") }, sealed)).toBeUndefined();
  expect(openSealed(recipient, { ...binding, about: bytesOf("request 2") }, sealed)).toBeUndefined();
});

it.each([
  ["a key that is too short", new Uint8Array(31)],
  ["one that is too long", new Uint8Array(33)],
  ["a point that gives everybody the same secret", new Uint8Array(32)],
])("seals to nobody where the key is %s", (_, recipient) => {
  expect(sealTo(recipient, binding, text)).toBeUndefined();
});

it("opens nothing that was sealed with a point that gives everybody the same secret", () => {
  expect(openSealed(generateX25519(), binding, new Uint8Array(80))).toBeUndefined();
});
