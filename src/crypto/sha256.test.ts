import { expect, test } from "vitest";
import { bytesOf, hexOf } from "../base/bytes.ts";
import { sha256 } from "./sha256.ts";

// FIPS 180-4 examples.
test.each([
  [[], "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"],
  [["abc"], "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"],
  [["", "a", "bc"], "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"],
])("the hash of %j is %s", (parts, hex) => {
  expect(hexOf(sha256(...parts.map(bytesOf)))).toBe(hex);
});
