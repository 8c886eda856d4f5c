import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { defaultHttp1Limits, scanRequestHead } from "../http1/index.ts";
import { fieldKind, type Http2RequestHead, headerField } from "../http2/index.ts";
import { readRequestHead } from "../http2/message-head.ts";
import { judgeFields } from "./judge-fields.ts";

const limits = { ...defaultHttp1Limits, headBytesMax: 300, headersMax: 6, targetBytesMax: 60 };

describe("a request that came as fields", () => {
  test("is judged as the head of HTTP/1.1 with the same lines", () => {
    let accepted = 0;
    fc.assert(
      fc.property(anyFields, fc.boolean(), (fields, hasBody) => {
        const head = readRequestHead(fields.map(([name, value]) => headerField(name, value)));
        if (typeof head === "string") return;
        // The session has refused a length without a body before.
        if (!hasBody && (head.contentLength ?? 0) > 0) return;

        const judged = judgeFields(head, hasBody, limits);
        const window = Buffer.from(requestText(head, hasBody), "latin1");
        const scanned = scanRequestHead(window, 0, window.length, limits);

        if (judged.kind === "refused" || scanned.kind !== "head") {
          expect(judged).toMatchObject({ kind: scanned.kind });
          return;
        }
        accepted += 1;
        const { method, target, host, framing, expectsContinue, wantsTrailers, keepAlive } = scanned;
        expect(judged).toMatchObject({
          method,
          target,
          host,
          framing,
          expectsContinue,
          wantsTrailers,
          keepAlive,
        });
        for (const name of ["x-a", "content-type", "troth-a", "te"])
          expect(judged.valuesOf(name)).toEqual(scanned.valuesOf(name));
      }),
      { numRuns: 4_000 },
    );
    expect(accepted).toBeGreaterThan(100);
  });

  test.each([
    [":method", "BREW", 501, "method-unknown"],
    [":method", "TRACE", 501, "method-unsupported"],
    [":method", "A".repeat(33), 501, "method-unknown"],
    [":path", `/${"a".repeat(8 * 1024)}`, 414, "target-too-long"],
    [":path", '/"', 400, "target-character"],
    [":path", "/a/../..", 400, "target-above-root"],
    [":path", "/%zz", 400, "target-percent-malformed"],
    [":path", "/a%2fb", 400, "target-encoded-slash"],
    [":authority", "a:99999", 400, "host-invalid"],
    [":authority", "a,b", 400, "host-invalid"],
    ["x_a", "1", 400, "header-name-underscore"],
    ["expect", "200-ok", 417, "expectation-unsupported"],
    ["content-length", "007", 400, "content-length-invalid"],
    ["trailer", "a, Content-Length", 400, "trailer-announcement-forbidden"],
    ["x-a", "a".repeat(17 * 1024), 431, "head-too-large"],
  ])("is refused over $0: $3", (name, value, status, reason) => {
    const fields = [...plain.filter(([other]) => other !== name), [name, value] as const];
    const sorted = fields.toSorted(
      ([left], [right]) => Number(right.startsWith(":")) - Number(left.startsWith(":")),
    );
    const head = readRequestHead(sorted.map(([one, text]) => headerField(one, text)));
    if (typeof head === "string") throw new Error(head);

    expect(judgeFields(head, true, defaultHttp1Limits)).toEqual({ kind: "refused", status, reason });
  });

  test.each([
    ["troth-mirrored", "?1", true],
    ["troth-mirrored", "?0", false],
    ["troth-other", "?1", false],
  ])("with %s: %s is a copy: %s", (name, value, isCopy) => {
    const head = readRequestHead(
      [...plain, [name, value] as const].map(([one, text]) => headerField(one, text)),
    );
    if (typeof head === "string") throw new Error(head);

    expect(judgeFields(head, true, defaultHttp1Limits)).toMatchObject({ isMirrored: isCopy });
  });

  test("without an authority, or with too many fields, is refused", () => {
    const without = readRequestHead(
      plain.filter(([name]) => name !== ":authority").map(([name, value]) => headerField(name, value)),
    );
    const many = readRequestHead(
      [...plain, ...Array.from({ length: 101 }, () => ["x-a", "1"] as const)].map(([name, value]) =>
        headerField(name, value),
      ),
    );
    if (typeof without === "string" || typeof many === "string") throw new Error("not a head");

    expect(judgeFields(without, true, defaultHttp1Limits)).toMatchObject({
      status: 400,
      reason: "host-missing",
    });
    expect(judgeFields(many, true, defaultHttp1Limits)).toMatchObject({
      status: 431,
      reason: "too-many-headers",
    });
  });
});

const plain: readonly (readonly [string, string])[] = [
  [":method", "POST"],
  [":scheme", "http"],
  [":path", "/a"],
  [":authority", "a"],
];

const anyField = fc.oneof(
  fc.tuple(
    fc.constantFrom("x-a", "x-b", "content-type", "trailer", "cookie"),
    fc.constantFrom("", "1", "a b", "ü".slice(0, 1)),
  ),
  fc.constantFrom(
    ["te", "trailers"] as const,
    ["expect", "100-continue"] as const,
    ["expect", "100-Continue"] as const,
    ["expect", "else"] as const,
    ["content-length", "0"] as const,
    ["content-length", "12"] as const,
    ["content-length", "012"] as const,
    ["host", "a.b"] as const,
    ["x_a", "1"] as const,
    ["troth-a", "1"] as const,
    ["proxy-a", "1"] as const,
    ["x-forwarded-client-cert", "1"] as const,
    ["x-long", "y".repeat(120)] as const,
  ),
);
const anyFields = fc
  .tuple(
    fc.constantFrom("GET", "POST", "BREW", "TRACE", "HEAD", "OPTIONS", "PROPFIND"),
    fc.oneof(
      fc.constantFrom("/", "*", "/a/../b", "/%7e", "/%zz", "//a", "/a?b=%00", '/"', "/a".repeat(40), "/.."),
      fc
        .string({ unit: fc.constantFrom("a", "/", ".", "%", "2", "f", "E", "?", "|", "<"), maxLength: 12 })
        .map((text) => `/${text}`),
    ),
    fc.constantFrom("a.b", "A.B:80", "a:99999", "a:", "[::1]:1", "[::g]", "a,b", "a_b", undefined),
    fc.array(anyField, { maxLength: 8 }),
  )
  .map(([method, path, authority, rest]): (readonly [string, string])[] => [
    [":method", method],
    [":scheme", "http"],
    [":path", path],
    ...(authority === undefined ? [] : [[":authority", authority] as const]),
    ...rest,
  ]);

/** The same request as a head of HTTP/1.1 (RFC 9113, 8.3.1). */
function requestText(head: Http2RequestHead, hasBody: boolean): string {
  const { method, path, authority, fields, pseudoFields, contentLength } = head;
  const regular = fields.slice(pseudoFields);
  const isChunked =
    hasBody && (contentLength === undefined || regular.some(({ name }) => name === "trailer"));
  const lines = regular.filter(
    ({ kind }) => kind !== fieldKind.host && !(isChunked && kind === fieldKind.contentLength),
  );
  return [
    `${method} ${path} HTTP/1.1`,
    ...(authority === "" ? [] : [`Host: ${authority}`]),
    ...lines.map(({ name, value }) => `${name}: ${value}`),
    ...(isChunked ? ["Transfer-Encoding: chunked"] : []),
    "",
    "",
  ].join("\r\n");
}
