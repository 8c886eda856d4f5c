import { describe, expect, test } from "vitest";
import { hexOf } from "../base/bytes.ts";
import { MeshError } from "../base/mesh-error.ts";
import { DerReader, enterWhole, MalformedDer, readWhole } from "./der-reader.ts";
import {
  demandTrue,
  integerBytesOf,
  namedBitsOf,
  objectIdentifierOf,
  smallIntegerOf,
  timeSecondsOf,
} from "./der-values.ts";
import { derInteger, derNamedBits, derObjectIdentifier, derOf, derTime } from "./der-writer.ts";

function bytes(hex: string): Uint8Array {
  return Uint8Array.from(Buffer.from(hex, "hex"));
}

describe("the reader refuses", () => {
  test.each([
    ["nothing at all", ""],
    ["a tag alone", "30"],
    ["an element longer than its bytes", "3001"],
    ["an indefinite length", "30800000"],
    ["a long length that fits a short one", "308100"],
    ["a long length with a leading zero", `30820080${"00".repeat(128)}`],
    ["a length of four bytes", "308400000000"],
    ["a length that ends", "3082"],
    ["a tag number above 30", "3f810000"],
    ["bytes after the element", "300000"],
    ["another tag", "3100"],
  ])("%s", (_name, hex) => {
    expect(() => readWhole(bytes(hex), 0x30)).toThrow(MalformedDer);
  });
});

test.each(["", "30", "3082", "3001", "048001", "3f810000"])("the reader gives no element for %j", (hex) => {
  expect(() => new DerReader(bytes(hex)).readAny()).toThrow(MalformedDer);
});

test("the reader gives elements in order, with and without their tags", () => {
  const reader = enterWhole(bytes("3006020105040161"));

  expect(hexOf(reader.read(0x02).der)).toBe("020105");
  expect(reader.readIf(0x05)).toBeUndefined();
  expect(hexOf(reader.read(0x04).content)).toBe("61");
  expect(reader.isAtEnd).toBe(true);
});

test("the reader takes a length of 128 in its shortest long form", () => {
  expect(new DerReader(derOf(0x04, new Uint8Array(128))).readAny().content.byteLength).toBe(128);
  expect(new DerReader(derOf(0x04, new Uint8Array(256))).readAny().content.byteLength).toBe(256);
});

describe("a value is refused:", () => {
  test.each<[string, (element: ReturnType<DerReader["readAny"]>) => unknown, string]>([
    ["the boolean FALSE", demandTrue, "010100"],
    ["a boolean of 0x01", demandTrue, "010101"],
    ["a boolean of two bytes", demandTrue, "0102ffff"],
    ["an empty integer", integerBytesOf, "0200"],
    ["an integer with a needless zero byte", integerBytesOf, "02020001"],
    ["an integer with a needless sign byte", integerBytesOf, "0202ff80"],
    ["a negative small integer", smallIntegerOf, "0201ff"],
    ["a small integer of two bytes", smallIntegerOf, "02020100"],
    ["named bits without a count", namedBitsOf, "0300"],
    ["named bits with 8 unused", namedBitsOf, "03020800"],
    ["named bits with trailing zeros", namedBitsOf, "03020080"],
    ["named bits set in the unused part", namedBitsOf, "03020781"],
    ["no named bit with a byte", namedBitsOf, "03020700"],
    ["an empty object identifier", objectIdentifierOf, "0600"],
    ["an arc with a needless byte", objectIdentifierOf, "06035580 01".replace(" ", "")],
    ["an arc that does not end", objectIdentifierOf, "06025581"],
    ["a month 13", timeSecondsOf, "170d3236313330313030303030305a"],
    ["30 February", timeSecondsOf, "170d3236303233303030303030305a"],
    ["hour 24", timeSecondsOf, "170d3236303130313234303030305a"],
    ["a time without seconds", timeSecondsOf, "170b323630313031303030305a"],
    ["a time with an offset", timeSecondsOf, "1711323630313031303030303030 2b30303030".replace(" ", "")],
    ["a time in the form of ISO 8601", timeSecondsOf, "1818323035302d30312d30315430303a30303a30302e3030305a"],
    ["a year before 2050 as GeneralizedTime", timeSecondsOf, "180f32303439303130313030303030305a"],
  ])("%s", (_name, read, hex) => {
    expect(() => read(new DerReader(bytes(hex)).readAny())).toThrow(MalformedDer);
  });
});

describe("what is written is read again:", () => {
  test.each([
    "2.5.29.15",
    "1.2.840.113549.1.9.14",
    "0.9.2342",
    "2.999.3",
    "2.25.204866109018629496886748370103967514892",
  ])("object identifier %s", (oid) => {
    expect(objectIdentifierOf(readWhole(derObjectIdentifier(oid), 0x06))).toBe(oid);
  });

  test.each([0, 1_800_000_000, Date.UTC(2049, 11, 31, 23, 59, 59) / 1000, Date.UTC(2050, 0, 1) / 1000])(
    "time %s",
    (seconds) => {
      expect(timeSecondsOf(new DerReader(derTime(seconds)).readAny())).toBe(seconds);
    },
  );

  test.each([[[0]], [[5, 6]], [[0, 8]], [[7]]])("named bits %j", (bits) => {
    expect([...namedBitsOf(readWhole(derNamedBits(bits), 0x03))]).toEqual(bits);
  });

  test.each([
    ["00", "020100"],
    ["7f", "02017f"],
    ["80", "02020080"],
    ["000102", "02020102"],
  ])("integer %s as %s", (magnitude, der) => {
    expect(hexOf(derInteger(bytes(magnitude)))).toBe(der);
  });
});

test.each([Number.NaN, 1.5, -1e12, 1e15])("%s seconds are no time for a certificate", (seconds) => {
  expect(() => derTime(seconds)).toThrow(MeshError);
});
