import { createHmac, createSecretKey } from "node:crypto";
import fc from "fast-check";
import { expect, test } from "vitest";
import { KeyedHash } from "./keyed-hash.ts";

const bytes = (minLength: number, maxLength: number) => fc.uint8Array({ minLength, maxLength });

test("a tag is what OpenSSL's HMAC makes of the same key and message, whatever key came before", () => {
  fc.assert(
    fc.property(fc.array(bytes(1, 64), { minLength: 1, maxLength: 4 }), bytes(0, 300), (keys, message) => {
      const keyed = new KeyedHash(message.length);
      keyed.message.set(message);
      for (const key of [...keys, ...keys].map((key) => createSecretKey(key))) {
        const target = Buffer.alloc(40, 7);
        keyed.writeTag(key, target, 4);
        const expected = createHmac("sha256", key).update(message).digest();
        expect(target).toEqual(Buffer.concat([Buffer.alloc(4, 7), expected, Buffer.alloc(4, 7)]));
      }
    }),
  );
});

test("a message that is written anew has a tag of its own", () => {
  const key = createSecretKey(Buffer.alloc(32, 1));
  const keyed = new KeyedHash(3);
  const tagOf = (text: string): string => {
    keyed.message.write(text);
    const target = Buffer.alloc(32);
    keyed.writeTag(key, target, 0);
    return target.toString("hex");
  };
  expect(tagOf("one")).toBe(createHmac("sha256", key).update("one").digest("hex"));
  expect(tagOf("two")).toBe(createHmac("sha256", key).update("two").digest("hex"));
});

test("a key that is longer than a block is refused, since HMAC would hash it first", () => {
  const keyed = new KeyedHash(3);
  expect(() => keyed.writeTag(createSecretKey(Buffer.alloc(65, 1)), Buffer.alloc(32), 0)).toThrow("65 bytes");
});
