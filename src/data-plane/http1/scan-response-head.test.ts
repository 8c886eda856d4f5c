import { describe, expect, test } from "vitest";
import { defaultHttp1Limits } from "./http1-limits.ts";
import { scanResponseHead } from "./scan-response-head.ts";

describe("a response head", () => {
  test.each([
    [
      "HTTP/1.1 200 OK\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n",
      "content-length-with-transfer-encoding",
    ],
    ["HTTP/1.1 200 OK\r\nContent-Length: 1\r\nContent-Length: 1\r\n\r\n", "content-length-repeated"],
    ["HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip, chunked\r\n\r\n", "transfer-encoding-unsupported"],
    ["HTTP/1.0 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n", "transfer-encoding-in-http10"],
    ["HTTP/1.1 204 OK\r\nTransfer-Encoding: chunked\r\n\r\n", "transfer-encoding-without-body"],
    ["HTTP/1.1 100 OK\r\nTransfer-Encoding: chunked\r\n\r\n", "transfer-encoding-without-body"],
    ["HTTP/1.1 200 OK\nX: y\r\n\r\n", "bare-line-feed"],
    ["HTTP/1.1 200 O\rK\r\n\r\n", "bare-carriage-return"],
    ["HTTP/1.1 200 O\0K\r\n\r\n", "control-byte"],
    ["HTTP/1.1 200 OK\r\nX : y\r\n\r\n", "space-before-colon"],
    ["HTTP/1.1 200 OK\r\nX: y\r\n z\r\n\r\n", "line-folding"],
    ["HTTP/1.1 200 OK\r\nConnection: Content-Length\r\n\r\n", "connection-option-forbidden"],
    ["HTTP/1.1  200 OK\r\n\r\n", "status-line-malformed"],
    ["HTTP/1.1 20 OK\r\n\r\n", "status-line-malformed"],
    ["HTTP/1.1 2000 OK\r\n\r\n", "status-line-malformed"],
    ["HTTP/1.1 099 OK\r\n\r\n", "status-unsupported"],
    ["HTTP/1.1 600 OK\r\n\r\n", "status-unsupported"],
    ["HTTP/1.2 200 OK\r\n\r\n", "version-unsupported"],
    ["HTTP/2.0 200 OK\r\n\r\n", "version-unsupported"],
    ["ICY 200 OK\r\n\r\n", "status-line-malformed"],
    ["<html>", "status-line-malformed"],
    [`HTTP/1.1 200 OK\r\nX: ${"a".repeat(16_384)}`, "head-too-large"],
  ])("is refused: %j: %s", (text, reason) => {
    expect(scan(text)).toMatchObject({ kind: "refused", reason, status: 502 });
  });

  test.each([
    ["200 OK\r\nContent-Length: 7\r\n", false, { kind: "length", bytes: 7 }],
    ["200 OK\r\nTransfer-Encoding: chunked\r\n", false, { kind: "chunked" }],
    ["200 OK\r\n", false, { kind: "until-close" }],
    ["200 OK\r\nContent-Length: 7\r\n", true, { kind: "none" }],
    ["204 No Content\r\nContent-Length: 7\r\n", false, { kind: "none" }],
    ["304 Not Modified\r\nContent-Length: 7\r\n", false, { kind: "none" }],
    ["103 Early Hints\r\n", false, { kind: "none" }],
  ])("frames the body of %j (to HEAD: %s)", (text, isHead, framing) => {
    expect(scan(`HTTP/1.1 ${text}\r\n`, isHead)).toMatchObject({ kind: "head", framing });
  });

  test.each([
    ["HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n", true],
    ["HTTP/1.1 200\r\nContent-Length: 0\r\n\r\n", true],
    ["HTTP/1.1 200 OK\r\nContent-Length: 0\r\nConnection: close\r\n\r\n", false],
    ["HTTP/1.0 200 OK\r\nContent-Length: 0\r\nConnection: keep-alive\r\n\r\n", false],
    ["HTTP/1.1 200 OK\r\n\r\n", false],
  ])("tells whether the connection may be used again: %j", (text, keepAlive) => {
    expect(scan(text)).toMatchObject({ kind: "head", keepAlive });
  });
});

function scan(text: string, isHead = false): ReturnType<typeof scanResponseHead> {
  const window = Buffer.from(text, "latin1");
  return scanResponseHead(window, 0, window.length, { limits: defaultHttp1Limits, isHead });
}
