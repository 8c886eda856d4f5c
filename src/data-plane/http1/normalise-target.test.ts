import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { isNormalPath } from "../../trust-log/index.ts";
import { isOf, targetByte } from "./byte-classes.ts";
import { normaliseTarget } from "./normalise-target.ts";

describe("the normal form of a target", () => {
  test.each([
    ["/", "/"],
    ["/a/b", "/a/b"],
    ["/a/", "/a/"],
    ["//", "/"],
    ["//a///b//", "/a/b/"],
    ["/./a/./b/.", "/a/b/"],
    ["/a/..", "/"],
    ["/a/b/..", "/a/"],
    ["/a/b/../c", "/a/c"],
    ["/%7Ea/%2d%5F%2e", "/~a/-_."],
    ["/a/%2e%2e/b", "/b"],
    ["/%e2%82%ac", "/%E2%82%AC"],
    ["/a%20b%3b", "/a%20b%3B"],
    ["/%252e%252e/a", "/%252e%252e/a"],
    ["/...", "/..."],
    ["/.a/..b", "/.a/..b"],
    ["/a;x=1/b", "/a;x=1/b"],
    ["/a?b=//../%2e%2f%0a", "/a?b=//../.%2F%0A"],
    ["/a?", "/a?"],
    ["/a?b?c=%41", "/a?b?c=A"],
  ])("of %j is %j", (target, normal) => {
    expect(normaliseTarget(target)).toEqual({ ok: true, value: normal });
  });

  const piece = fc.constantFrom(
    "/",
    "/",
    ".",
    "..",
    "a",
    "B",
    ";",
    "?",
    "%2e",
    "%2F",
    "%41",
    "%c3%a9",
    "%C0",
    "%25",
    "%0a",
    "%zz",
    "%",
    "=",
    "~",
  );
  const target = fc.array(piece, { maxLength: 20 }).map((pieces) => `/${pieces.join("")}`);

  test("is its own normal form", () => {
    fc.assert(
      fc.property(target, (text) => {
        const normal = normaliseTarget(text);
        if (normal.ok) expect(normaliseTarget(normal.value)).toEqual(normal);
      }),
      { numRuns: 20_000 },
    );
  });

  test("has a path without empty or dot segments, and names what the URL parser of browsers names", () => {
    fc.assert(
      fc.property(target, (text) => {
        const normal = normaliseTarget(text);
        if (!normal.ok) return;
        const [path = ""] = normal.value.split("?");
        expect(path).toMatch(/^\/(?:[^/]+\/)*[^/]*$/);
        expect(path.split("/").filter((segment) => segment === "." || segment === "..")).toEqual([]);
        expect(new URL(`http://a${normal.value}`).pathname).toBe(path);
      }),
      { numRuns: 5_000 },
    );
  });
});

describe("a path that a rule may name", () => {
  const character = fc.integer({ min: 0x20, max: 0x7f }).map((code) => String.fromCharCode(code));
  const triplet = fc
    .integer({ min: 0, max: 255 })
    .map((octet) => `%${octet.toString(16).toUpperCase().padStart(2, "0")}`);
  const piece = fc.oneof(
    fc.constantFrom("/", "/", ".", "..", ";", "a", "%C3%A4", "%e2", "%"),
    character,
    triplet,
  );

  test("is exactly one that is its own normal form, in characters that a target may hold", () => {
    let normal = 0;
    fc.assert(
      fc.property(fc.array(piece, { maxLength: 6 }), (pieces) => {
        const path = `/${pieces.join("")}`;
        const isTarget =
          [...Buffer.from(path)].every((byte) => isOf(targetByte, byte)) && !path.includes("?");
        const target = normaliseTarget(path);
        const isReachable = isTarget && target.ok && target.value === path;
        normal += isReachable ? 1 : 0;

        expect([path, isNormalPath(path)]).toEqual([path, isReachable]);
      }),
      { numRuns: 5_000 },
    );
    expect(normal).toBeGreaterThan(100);
  });
});
