import { describe, expect, test } from "vitest";
import { defaultHttp1Limits } from "./http1-limits.ts";
import { scanRequestHead } from "./scan-request-head.ts";
import { scanResponseHead } from "./scan-response-head.ts";
import { headerLines, noEdits, serialiseRequest, serialiseResponse } from "./serialise-head.ts";

describe("header lines to add", () => {
  test("have a name, a colon, a space, a value and a line end", () => {
    expect(
      Buffer.from(
        headerLines([
          ["A", "b c"],
          ["D-E", ""],
        ]),
      ).toString(),
    ).toBe("A: b c\r\nD-E: \r\n");
  });

  test.each([
    ["A", "b\r\nC: d"],
    ["A", "b\nC: d"],
    ["A", "b\0"],
    ["A", "\u0100"],
    ["A\r\nB", "c"],
    ["A:", "b"],
    ["A B", "c"],
    ["A_B", "c"],
    ["", "b"],
  ])("are not made of %j and %j: ERR_HTTP1_HEADER", (name, value) => {
    expect(() => headerLines([[name, value]])).toThrow(expect.objectContaining({ code: "ERR_HTTP1_HEADER" }));
  });
});

describe("a head", () => {
  test.each([
    [{ target: "/a b" }],
    [{ target: "/a\r\nX: y" }],
    [{ target: "" }],
    [{ host: "a\r\nX: y" }],
    [{ host: "" }],
  ])("is not written with the edit %j: ERR_HTTP1_TARGET", (edit) => {
    const head = request("GET / HTTP/1.1\r\nHost: a\r\n\r\n");

    expect(() => serialiseRequest(head, { ...noEdits, ...edit }, Buffer.alloc(0))).toThrow(
      expect.objectContaining({ code: "ERR_HTTP1_TARGET" }),
    );
  });

  test("fits its Buffer whatever the spacing, and keeps each line that stays", () => {
    const spacings = ["", " ", "  ", "\t", " \t "];
    for (const before of spacings)
      for (const after of spacings) {
        const lines = [1, 2, 3, 4, 5].map((line) => `N${line}:${before}v${line}${after}\r\n`).join("");
        const head = request(`GET / HTTP/1.1\r\n${lines}Host: a\r\n${lines}\r\n`);

        const bytes = serialiseRequest(head, { ...noEdits, remove: ["n2", "n4"] }, Buffer.from("body"));

        const kept = "N1: v1\r\nN3: v3\r\nN5: v5\r\n";
        expect(bytes.toString()).toBe(`GET / HTTP/1.1\r\nHost: a\r\n${kept}${kept}\r\nbody`);
      }
  });

  test("that is written is read again as the same head", () => {
    const head = request("POST //x/./%7e?y HTTP/1.1\r\nHost: A\r\nX:y\r\nContent-Length:2\r\n\r\n");

    const again = request(serialiseRequest(head, noEdits, Buffer.alloc(0)).toString());

    expect([again.method, again.target, again.host, again.framing, again.valuesOf("x")]).toEqual([
      "POST",
      "/x/~?y",
      "a",
      { kind: "length", bytes: 2 },
      ["y"],
    ]);
  });

  test("of a response without a body declares no length where none may stand", () => {
    const window = Buffer.from("HTTP/1.1 204 Gone\r\nContent-Length: 0\r\nX: y\r\n\r\n");
    const head = scanResponseHead(window, 0, window.length, { limits: defaultHttp1Limits, isHead: false });
    if (head.kind !== "head") throw new Error(head.kind);

    const bytes = serialiseResponse(head, { close: true, coding: "declared" }, Buffer.alloc(0));

    expect(bytes.toString()).toBe("HTTP/1.1 204 Gone\r\nConnection: close\r\nX: y\r\n\r\n");
  });
});

function request(text: string): Extract<ReturnType<typeof scanRequestHead>, { kind: "head" }> {
  const window = Buffer.from(text, "latin1");
  const head = scanRequestHead(window, 0, window.length, defaultHttp1Limits);
  if (head.kind !== "head") throw new Error(JSON.stringify(head));
  return head;
}
