import { describe, expect, test } from "vitest";
import { refusedHeads } from "../../../test/fuzz/http1-refused-requests.ts";
import { defaultHttp1Limits } from "./http1-limits.ts";
import { scanRequestHead } from "./scan-request-head.ts";

describe("a request head", () => {
  test.each(refusedHeads)("is refused with $status for $what: $reason", ({ bytes, status, reason }) => {
    expect(scan(bytes)).toEqual({ kind: "refused", status, reason });
  });

  test("is refused for the same reason wherever the reads split it, and never taken for a head", () => {
    for (const { bytes, reason } of refusedHeads.filter(({ bytes }) => bytes.length < 2000))
      for (let end = 0; end < bytes.length; end += 1) {
        const outcome = scan(bytes.slice(0, end));
        if (outcome.kind === "refused") expect([bytes, end, outcome.reason]).toEqual([bytes, end, reason]);
        else expect(outcome.kind).toBe("need-more");
      }
  });

  test.each([
    ["GET / HTTP/1.1\n", "bare-line-feed"],
    ["GET / HTTP/1.1\r\nHost: a\n", "bare-line-feed"],
    ["GET / HTTP/1.1\r\nHost: a\0", "control-byte"],
    ["GET / HTTP/1.1\r\nHost: a\rb", "bare-carriage-return"],
    ["GET  ", "request-line-malformed"],
    ["POST / HTTP/1.1\r\nContent-Length: 1\r\nContent-Length: 1\r\n", "content-length-repeated"],
  ])("is refused before it ends: %j", (bytes, reason) => {
    expect(scan(bytes)).toMatchObject({ reason });
  });

  test("is read from the middle of a window, up to where the next one begins", () => {
    const window = Buffer.from("xxGET /a?b HTTP/1.1\r\nHost: A.Shop:80\r\nX-Y: \t z \t\r\n\r\nGET", "latin1");

    const head = scanRequestHead(window, 2, window.length, defaultHttp1Limits);

    expect(head).toMatchObject({ kind: "head", method: "GET", target: "/a?b", host: "a.shop:80" });
    expect(head.kind === "head" && head.valuesOf("x-y")).toEqual(["z"]);
    expect(head.kind === "head" && head.section.end).toBe(window.length - 3);
  });

  test.each([
    ["", { kind: "none" }],
    ["Content-Length: 0\r\n", { kind: "length", bytes: 0 }],
    ["Content-Length: 999999999999999\r\n", { kind: "length", bytes: 999_999_999_999_999 }],
    ["transfer-encoding:CHUNKED\r\n", { kind: "chunked" }],
  ])("frames its body by %j", (header, framing) => {
    expect(scan(`POST / HTTP/1.1\r\nHost: a\r\n${header}\r\n`)).toMatchObject({ framing });
  });

  test.each([
    ["HTTP/1.1", "", true],
    ["HTTP/1.1", "Connection: keep-alive\r\n", true],
    ["HTTP/1.1", "Connection: , keep-alive ,Close\r\n", false],
    ["HTTP/1.1", "Connection: x\r\nConnection: close\r\n", false],
    ["HTTP/1.0", "", false],
    ["HTTP/1.0", "Connection: keep-alive\r\n", false],
  ])("of %s with %j keeps the connection: %s", (version, header, keepAlive) => {
    expect(scan(`GET / ${version}\r\nHost: a\r\n${header}\r\n`)).toMatchObject({ keepAlive });
  });

  test("of HTTP/1.0 needs no Host and expects no 100", () => {
    expect(scan("GET / HTTP/1.0\r\nExpect: 100-continue\r\n\r\n")).toMatchObject({
      host: "",
      expectsContinue: false,
    });
  });

  test.each([
    ["GET http://A:80/b/../c?d HTTP/1.1\r\nHost: a:80", "/c?d"],
    ["GET http://a HTTP/1.1\r\nHost: a", "/"],
    ["GET HTTP://a?b HTTP/1.1\r\nHost: a", "/?b"],
    ["OPTIONS * HTTP/1.1\r\nHost: a", "*"],
    ["OPTIONS http://a HTTP/1.1\r\nHost: a", "*"],
    ["GET /a/%2e%2e/../%41dmin HTTP/1.1\r\nHost: a", undefined],
    ["GET /x/a/%2e%2e/../%41dmin HTTP/1.1\r\nHost: a", "/Admin"],
    ["GET /?filter[a]={b}|c^`d HTTP/1.1\r\nHost: a", "/?filter[a]={b}|c^`d"],
  ])("with %j asks for %j", (start, target) => {
    const head = scan(`${start}\r\n\r\n`);

    expect(head.kind === "head" ? head.target : undefined).toBe(target);
  });

  test.each(["a", "a.b-c_d", "127.0.0.1:65535", "[::1]", "[::ffff:1.2.3.4]:8080"])(
    "may name the Host %j",
    (host) => {
      expect(scan(`GET / HTTP/1.1\r\nHost: ${host}\r\n\r\n`)).toMatchObject({ host });
    },
  );

  test("may have exactly 100 headers, 16 KiB and a target of 8 KiB", () => {
    const hundred = Array.from({ length: 99 }, (_, index) => `X-${index}: a\r\n`).join("");
    const start = "GET / HTTP/1.1\r\nHost: a\r\nX: ";
    const full = `${start}${"a".repeat(16_384 - start.length - 4)}\r\n\r\n`;

    expect(scan(`GET / HTTP/1.1\r\nHost: a\r\n${hundred}\r\n`).kind).toBe("head");
    expect(scan(full).kind).toBe("head");
    expect(scan(full.replace("X: ", "X: a"))).toMatchObject({ reason: "head-too-large" });
    expect(scan(`GET /${"a".repeat(8191)} HTTP/1.1\r\nHost: a\r\n\r\n`).kind).toBe("head");
  });

  test("shows every line of a name to the decider, also those that are not forwarded", () => {
    const head = scan("GET / HTTP/1.1\r\nHost: a\r\nTroth-Call: 1\r\ntroth-call: 2\r\n\r\n");

    expect(head.kind === "head" && head.valuesOf("troth-call")).toEqual(["1", "2"]);
  });
});

function scan(text: string): ReturnType<typeof scanRequestHead> {
  const window = Buffer.from(text, "latin1");
  return scanRequestHead(window, 0, window.length, defaultHttp1Limits);
}
