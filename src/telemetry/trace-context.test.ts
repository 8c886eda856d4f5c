import fc from "fast-check";
import { describe, expect, it, test } from "vitest";
import { bytesOf, hexOf } from "../base/bytes.ts";
import { judgeTracestate, readTraceparent, type TraceParent } from "./trace-context.ts";

const traceId = "4bf92f3577b34da6a3ce929d0e0e4736";
const parentId = "00f067aa0ba902b7";
const good = `00-${traceId}-${parentId}-01`;

function formatTraceparent({ traceId, parentId, isSampled }: TraceParent): string {
  return `00-${traceId}-${parentId}-${isSampled ? "01" : "00"}`;
}

function read(text: string): TraceParent | undefined {
  const bytes = bytesOf(text);
  return readTraceparent(bytes, 0, bytes.length);
}

describe("a traceparent", () => {
  it("is read wherever it stands in the window", () => {
    const bytes = bytesOf(`xx${good}yy`);

    expect(readTraceparent(bytes, 2, 2 + good.length)).toEqual({ traceId, parentId, isSampled: true });
  });

  test.each([
    ["00", "-00", false],
    ["00", "-01", true],
    ["00", "-ff", true],
    ["00", "-fe", false],
    ["01", "-01", true],
    ["cc", "-01-what-the-future-will-be-like", true],
    ["cc", "-01-", true],
  ])("of version %s that ends in %s is read", (version, end, isSampled) => {
    expect(read(`${version}-${traceId}-${parentId}${end}`)).toEqual({ traceId, parentId, isSampled });
  });

  test.each([
    ["nothing", ""],
    ["version ff", `ff-${traceId}-${parentId}-01`],
    ["a version that is no number", `0g-${traceId}-${parentId}-01`],
    ["a version in capitals", `CC-${traceId}-${parentId}-01`],
    ["version 00 with more after it", `${good}-what-the-future-will-be-like`],
    ["version 00 with a dash after it", `${good}-`],
    ["a later version that goes on without a dash", `cc-${traceId}-${parentId}-01.what`],
    ["a trace id of zeros", `00-${"0".repeat(32)}-${parentId}-01`],
    ["a parent id of zeros", `00-${traceId}-${"0".repeat(16)}-01`],
    ["a trace id in capitals", `00-${traceId.toUpperCase()}-${parentId}-01`],
    ["a parent id in capitals", `00-${traceId}-${parentId.toUpperCase()}-01`],
    ["a trace id with a dot", `00-.${traceId.slice(1)}-${parentId}-01`],
    ["a parent id with a dot", `00-${traceId}-.${parentId.slice(1)}-01`],
    ["a short trace id", `00-${traceId.slice(1)}-${parentId}-01`],
    ["a long trace id", `00-0${traceId}-${parentId}-01`],
    ["a short parent id", `00-${traceId}-${parentId.slice(1)}-01`],
    ["flags that are no number", `00-${traceId}-${parentId}-.0`],
    ["flags of one digit", `00-${traceId}-${parentId}-1`],
    ["flags in capitals", `00-${traceId}-${parentId}-FF`],
    ["underscores for dashes", good.replaceAll("-", "_")],
  ])("that is %s is none", (_, text) => {
    expect(read(text)).toBeUndefined();
  });

  const digits = (length: number) =>
    fc
      .uint8Array({ minLength: length / 2, maxLength: length / 2 })
      .map((bytes) => hexOf(bytes))
      .filter((id) => /[^0]/.test(id));
  const parents = fc.record({ traceId: digits(32), parentId: digits(16), isSampled: fc.boolean() });

  it("gives back the ids and the flag that are in it", () => {
    fc.assert(
      fc.property(parents, (parent) => {
        expect(read(formatTraceparent(parent))).toEqual(parent);
      }),
    );
  });

  it("agrees with the grammar of the Recommendation about any text near a good one", () => {
    const grammar = /^(?!ff)[0-9a-f]{2}-(?!0{32})[0-9a-f]{32}-(?!0{16})[0-9a-f]{16}-[0-9a-f]{2}(?:$|-)/;
    const edits = fc.array(
      fc.record({ at: fc.nat(60), text: fc.constantFrom("", "0", "f", "F", "-", "_", " ", "é", "00", "ff") }),
      { maxLength: 3 },
    );
    fc.assert(
      fc.property(parents, edits, (parent, changes) => {
        let text = formatTraceparent(parent);
        for (const { at, text: put } of changes) text = text.slice(0, at) + put + text.slice(at + 1);
        const isGood = grammar.test(text) && !(text.startsWith("00") && text.length !== 55);

        expect(read(text) !== undefined).toBe(isGood);
      }),
    );
  });

  it("never makes the reader throw", () => {
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 80 }), (bytes) => {
        readTraceparent(bytes, 0, bytes.length);
      }),
    );
  });
});

describe("a tracestate", () => {
  test.each([
    ["one member", ["foo=1"]],
    ["two lines", ["foo=1", "bar=2"]],
    ["empty members and white space", ["foo=1 , \t bar=2,,", ""]],
    ["a tenant", ["fw529a3039@dt=FfAAAAAAAA=".slice(0, -1)]],
    ["a key of 256 characters", [`${"a".repeat(256)}=1`]],
    ["a value of 256 characters", [`a=${"1".repeat(256)}`]],
    ["a value with a space inside", ["a=b c"]],
    ["32 members", [Array.from({ length: 32 }, (_, at) => `k${at}=v`).join(",")]],
    ["nothing", [""]],
  ])("of %s goes on", (_, values) => {
    expect(judgeTracestate(values)).toEqual({ kind: "kept" });
  });

  test.each([
    ["33 members", [Array.from({ length: 33 }, (_, at) => `k${at}=v`).join(",")]],
    ["33 members on two lines", [Array.from({ length: 32 }, (_, at) => `k${at}=v`).join(","), "z=1"]],
    ["a key that stands twice", ["foo=1,bar=2", "foo=3"]],
    ["a member without a value", ["foo"]],
    ["an empty value", ["foo="]],
    ["an equals sign in the value", ["foo=1=2"]],
    ["a capital in the key", ["Foo=1"]],
    ["a key that begins with a digit", ["1foo=1"]],
    ["a key of 257 characters", [`${"a".repeat(257)}=1`]],
    ["a value of 257 characters", [`a=${"1".repeat(257)}`]],
    ["a system name of 15 characters", [`t@${"v".repeat(15)}=1`]],
    ["two at signs", ["a@b@c=1"]],
    ["a space before the equals sign", ["foo =1"]],
    ["a control character", ["foo=a\tb"]],
    ["a byte beyond ASCII", ["foo=é"]],
  ])("with %s is dropped", (_, values) => {
    expect(judgeTracestate(values)).toEqual({ kind: "dropped" });
  });

  it("that is too long loses its long members first, from the end, and then its last", () => {
    const long = (key: string): string => `${key}=${"1".repeat(200)}`;
    const short = Array.from({ length: 20 }, (_, at) => `s${at}=${"2".repeat(20)}`);

    const one = judgeTracestate([`a=1,${long("b")},c=3,${long("d")},${long("e")}`]);
    const other = judgeTracestate([[long("x"), ...short].join(",")]);

    expect(one).toEqual({ kind: "shortened", value: `a=1,${long("b")},c=3,${long("d")}` });
    expect(other).toEqual({ kind: "shortened", value: short.slice(0, 20).join(",") });
  });

  it("that is shortened is right, and not too long", () => {
    const members = fc.array(fc.integer({ min: 1, max: 256 }), { minLength: 3, maxLength: 32 });
    fc.assert(
      fc.property(members, (lengths) => {
        const judged = judgeTracestate(lengths.map((length, at) => `k${at}=${"v".repeat(length)}`));
        if (judged.kind !== "shortened") return;

        expect(judged.value.length).toBeLessThanOrEqual(512);
        expect(judgeTracestate([judged.value]).kind).toBe("kept");
      }),
    );
  });
});
