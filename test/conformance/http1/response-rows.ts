import type { Field } from "../../apparatus/http1-reading.ts";
import { type Step, theEnd, theReset } from "../../apparatus/scripted-app.ts";
import { legalTrailersAre, type Reason } from "./corpus-row.ts";

/** What the client has to get for a hostile response; a request behind it gets its own answer in every case. */
export type ExpectedResponse =
  /** 502 from the mesh, or a response that visibly breaks off where a part of it had been passed on. */
  | { readonly kind: "refused"; readonly mayBegin: boolean }
  | {
      readonly kind: "passed";
      readonly status: number;
      /** By name in small letters, without framing and what is for one hop. */
      readonly headers: readonly Field[];
      readonly body: string;
      readonly trailers: readonly Field[];
    };

/** What an application sends for a request, and what has to become of it. */
export interface ResponseRow extends Reason {
  readonly name: string;
  readonly method: "GET" | "HEAD" | "POST";
  readonly steps: readonly Step[];
  readonly expected: ExpectedResponse;
  /** How long to wait before the request behind it. */
  readonly pauseMillis: number;
}

const framing: Reason = {
  why: "the client ends the body at one place and the proxy at another: the rest answers somebody else's request",
  rfc: "RFC 9112, 6.3",
};
const coding: Reason = { why: "client and proxy end the chunks at different places", rfc: "RFC 9112, 7.1" };
const head: Reason = {
  why: "client and proxy read another status or other headers",
  rfc: "RFC 9112, 2.2, 4 and 5",
};
const interim: Reason = {
  why: "who takes it for the final response is one response ahead",
  rfc: "RFC 9110, 15.2",
};
const surplus: Reason = {
  why: "bytes that answer nothing would answer the next request, whoever sends it",
  rfc: "RFC 9112, 9.2 and 6.3",
};
const cut: Reason = { why: "a part must not be taken for the whole", rfc: "RFC 9112, 8" };
const ok = "HTTP/1.1 200 OK\r\n";
const poison = `${ok}Content-Length: 6\r\n\r\npoison`;
const pause = { waitMillis: 20 } as const;

type Row = readonly [name: string, ...steps: Step[]];

function refused(reason: Reason, rows: readonly Row[], mayBegin = false): ResponseRow[] {
  return rows.map(([name, ...steps]) => ({
    ...reason,
    name,
    method: "GET",
    steps,
    expected: { kind: "refused", mayBegin },
    pauseMillis: 0,
  }));
}

interface Passing {
  readonly name: string;
  readonly steps: readonly Step[];
  readonly method?: ResponseRow["method"];
  readonly status?: number;
  readonly headers?: readonly Field[];
  readonly body?: string;
  readonly trailers?: readonly Field[];
  readonly pauseMillis?: number;
}

function passed(reason: Reason, rows: readonly Passing[]): ResponseRow[] {
  return rows.map(({ name, steps, method = "GET", status = 200, pauseMillis = 0, ...rest }) => {
    const { headers = [], body = "", trailers = [] } = rest;
    return {
      ...reason,
      name,
      method,
      steps,
      pauseMillis,
      expected: { kind: "passed", status, headers, body, trailers },
    };
  });
}

function sized(line: string): string {
  return `${ok}${line}\r\n\r\nabc`;
}

function chunked(body: string): string {
  return `${ok}Transfer-Encoding: chunked\r\n\r\n${body}`;
}

function announced(names: string): string {
  return `${ok}Trailer: ${names}\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n`;
}

const wrongChunks: readonly (readonly [name: string, body: string])[] = [
  ["a chunk size with 0x", "0x3\r\nabc\r\n0\r\n\r\n"],
  ["a chunk size with a sign", "+3\r\nabc\r\n0\r\n\r\n"],
  ["a negative chunk size", "-3\r\nabc\r\n0\r\n\r\n"],
  ["a chunk size with a space", "3 \r\nabc\r\n0\r\n\r\n"],
  ["a chunk size beyond 64 bits", "10000000000000003\r\nabc\r\n0\r\n\r\n"],
  ["a chunk extension", "3;a=b\r\nabc\r\n0\r\n\r\n"],
  ["a chunk extension with a bare LF", "3;a\nabc\r\n0\r\n\r\n"],
  ["a bare LF after a chunk size", "3\nabc\r\n0\r\n\r\n"],
  ["a bare LF after chunk data", "3\r\nabc\n0\r\n\r\n"],
  ["no line end after chunk data", "3\r\nabc0\r\n\r\n"],
  ["a chunk longer than its size", "3\r\nabcd\r\n0\r\n\r\n"],
  ["a bare LF as the last line of chunks", "3\r\nabc\r\n0\r\n\n"],
  ["a folded trailer", "3\r\nabc\r\n0\r\nX: a\r\n b\r\n\r\n"],
  ["a length as a trailer", "3\r\nabc\r\n0\r\nContent-Length: 3\r\n\r\n"],
  ["a coding as a trailer", "3\r\nabc\r\n0\r\nTransfer-Encoding: chunked\r\n\r\n"],
  ["a cookie as a trailer", "3\r\nabc\r\n0\r\nSet-Cookie: a=b\r\n\r\n"],
];
const aTrailer = chunked("3\r\nabc\r\n0\r\nX-Digest: 1\r\n\r\n");

/** Responses of an application that is hostile or broken. */
export const responseRows: readonly ResponseRow[] = [
  ...refused(framing, [
    [
      "a length and chunked",
      `${ok}Content-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n${poison}`,
    ],
    ["chunked and a length", `${ok}Transfer-Encoding: chunked\r\nContent-Length: 5\r\n\r\n0\r\n\r\n`],
    ["two equal lengths", sized("Content-Length: 3\r\nContent-Length: 3")],
    ["two lengths", sized("Content-Length: 3\r\nContent-Length: 2")],
    ["a list of lengths", sized("Content-Length: 3, 3")],
    ["a length with a sign", sized("Content-Length: +3")],
    ["a negative length", sized("Content-Length: -3")],
    ["a length with 0x", sized("Content-Length: 0x3")],
    ["a length with a leading zero", sized("Content-Length: 03")],
    ["a length beyond 64 bits", sized("Content-Length: 18446744073709551619")],
    ["an empty length", sized("Content-Length:")],
    ["a length after a tab", sized("Content-Length:\t3")],
    ["a length with a space before the colon", sized("Content-Length : 3")],
    ["another coding", sized("Transfer-Encoding: gzip")],
    ["another coding before chunked", sized("Transfer-Encoding: gzip, chunked")],
    ["identity", sized("Transfer-Encoding: identity")],
    ["a coding that ends in chunked", sized("Transfer-Encoding: xchunked")],
    ["chunked after a vertical tab", sized("Transfer-Encoding: \x0bchunked")],
    ["chunked after a tab", sized("Transfer-Encoding:\tchunked")],
    ["chunked twice", sized("Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked")],
    ["chunked in HTTP/1.0", "HTTP/1.0 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n"],
    ["chunked without a body", "HTTP/1.1 204 No Content\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n"],
    ["Connection that takes away the length", sized("Connection: content-length\r\nContent-Length: 3")],
  ]),
  ...refused(
    coding,
    wrongChunks.map(([name, body]) => [name, chunked(body)]),
    true,
  ),
  ...refused(
    coding,
    wrongChunks.map(([name, body]) => [`${name}, later`, chunked("1\r\nx\r\n"), pause, body]),
    true,
  ),
  ...refused(head, [
    ["bare LF after the status line", "HTTP/1.1 200 OK\nContent-Length: 3\r\n\r\nabc"],
    ["bare LF throughout", "HTTP/1.1 200 OK\nContent-Length: 3\n\nabc"],
    ["bare LF after a header", `${ok}X: a\nContent-Length: 3\r\n\r\nabc`],
    ["bare CR in a value", sized("X: a\rContent-Length: 3")],
    ["a length behind a bare LF", sized("X: a\nContent-Length: 3")],
    ["a NUL in a value", sized("X: a\0\r\nContent-Length: 3")],
    ["a folded value", sized("X: a\r\n b\r\nContent-Length: 3")],
    ["no colon", sized("Xy\r\nContent-Length: 3")],
    ["no name", sized(": y\r\nContent-Length: 3")],
    ["a space in a name", sized("X Y: z\r\nContent-Length: 3")],
    ["a control byte in the phrase", "HTTP/1.1 200 O\x01K\r\nContent-Length: 3\r\n\r\nabc"],
    ["a bare CR in the phrase", "HTTP/1.1 200 O\rK\r\nContent-Length: 3\r\n\r\nabc"],
    ["HTTP/2.0", "HTTP/2.0 200 OK\r\nContent-Length: 3\r\n\r\nabc"],
    ["HTTP/1.2", "HTTP/1.2 200 OK\r\nContent-Length: 3\r\n\r\nabc"],
    ["a version in small letters", "http/1.1 200 OK\r\nContent-Length: 3\r\n\r\nabc"],
    ["another protocol", "ICY 200 OK\r\nContent-Length: 3\r\n\r\nabc"],
    ["HTTP/0.9", "hello\r\n", theEnd],
    ["two spaces before the status", "HTTP/1.1  200 OK\r\nContent-Length: 3\r\n\r\nabc"],
    ["no status", "HTTP/1.1 OK\r\nContent-Length: 3\r\n\r\nabc"],
    ["a status of two digits", "HTTP/1.1 20 OK\r\nContent-Length: 3\r\n\r\nabc"],
    ["a status of four digits", "HTTP/1.1 2000 OK\r\nContent-Length: 3\r\n\r\nabc"],
    ["a status below 100", "HTTP/1.1 099 OK\r\nContent-Length: 3\r\n\r\nabc"],
    ["a status above 599", "HTTP/1.1 600 OK\r\nContent-Length: 3\r\n\r\nabc"],
    ["a status with a sign", "HTTP/1.1 +20 OK\r\nContent-Length: 3\r\n\r\nabc"],
    ["an empty line in front", `\r\n${sized("Content-Length: 3")}`],
    ["a space in front", ` ${sized("Content-Length: 3")}`],
    ["101 header lines", sized(`${"X: a\r\n".repeat(101)}Content-Length: 3`)],
    ["a head of more than 16 KiB", sized(`X: ${"a".repeat(16_384)}\r\nContent-Length: 3`)],
    ["a TLS alert", "\x15\x03\x01\x00\x02\x02\x28"],
  ]),
  ...refused(interim, [
    [
      "101 that nobody asked for",
      "HTTP/1.1 101 Switching Protocols\r\nUpgrade: h2c\r\nConnection: Upgrade\r\n\r\n",
    ],
    ["101 and a response", `HTTP/1.1 101 Switching Protocols\r\n\r\n${poison}`],
    [
      "more interim responses than are taken",
      "HTTP/1.1 103 Early Hints\r\n\r\n".repeat(100) + sized("Content-Length: 3"),
    ],
    [
      "an interim response with chunks",
      `HTTP/1.1 103 Early Hints\r\nTransfer-Encoding: chunked\r\n\r\n${poison}`,
    ],
  ]),
  ...refused(
    cut,
    [
      ["the end before a head", theEnd],
      ["a reset before a head", theReset],
      ["the end inside a head", "HTTP/1.1 200 OK\r\nContent-Le", theEnd],
      ["the end behind an interim response", "HTTP/1.1 103 Early Hints\r\n\r\n", theEnd],
      ["the end inside a body", `${ok}Content-Length: 10\r\n\r\nabc`, theEnd],
      ["a reset inside a body", `${ok}Content-Length: 10\r\n\r\nabc`, pause, theReset],
      ["the end inside a chunk", chunked("5\r\nabc"), theEnd],
      ["the end between chunks", chunked("3\r\nabc\r\n"), theEnd],
      ["the end before the last line of chunks", chunked("3\r\nabc\r\n0\r\n"), theEnd],
      ["a reset where only the end of the connection ends the body", `${ok}\r\nabc`, pause, theReset],
    ],
    true,
  ),
  ...passed(surplus, [
    { name: "a second response", steps: [sized("Content-Length: 3") + poison], body: "abc" },
    {
      name: "a second response, later",
      steps: [sized("Content-Length: 3"), pause, poison],
      body: "abc",
      pauseMillis: 60,
    },
    {
      name: "a second response behind chunks",
      steps: [chunked("3\r\nabc\r\n0\r\n\r\n") + poison],
      body: "abc",
    },
    { name: "a body behind a length of nought", steps: [`${ok}Content-Length: 0\r\n\r\n${poison}`] },
    { name: "a line end behind the body", steps: [`${sized("Content-Length: 3")}\r\n`], body: "abc" },
    {
      name: "one byte behind the body, later",
      steps: [sized("Content-Length: 3"), pause, "x"],
      body: "abc",
      pauseMillis: 60,
    },
    { name: "a body on 204", steps: [`HTTP/1.1 204 No Content\r\n\r\n${poison}`], status: 204 },
    {
      name: "a body on 204, announced",
      steps: [`HTTP/1.1 204 No Content\r\nContent-Length: 3\r\n\r\nabc`],
      status: 204,
    },
    { name: "a body on 304", steps: [`HTTP/1.1 304 Not Modified\r\n\r\n${poison}`], status: 304 },
    {
      name: "a body on 304, announced",
      steps: [`HTTP/1.1 304 Not Modified\r\nContent-Length: 3\r\n\r\nabc`],
      status: 304,
    },
    {
      name: "a body on 304, later",
      steps: ["HTTP/1.1 304 Not Modified\r\n\r\n", pause, poison],
      status: 304,
      pauseMillis: 60,
    },
    {
      name: "a body for HEAD",
      method: "HEAD",
      steps: [`${ok}Content-Length: ${poison.length}\r\n\r\n${poison}`],
    },
    { name: "chunks for HEAD", method: "HEAD", steps: [chunked("3\r\nabc\r\n0\r\n\r\n")] },
    {
      name: "a body for HEAD, later",
      method: "HEAD",
      steps: [`${ok}Content-Length: 3\r\n\r\n`, pause, "abc"],
      pauseMillis: 60,
    },
    {
      name: "a response that the application splits",
      steps: [`${ok}X: a\r\nContent-Length: 0\r\n\r\n`, poison],
      headers: [["x", "a"]],
    },
    {
      name: "a second response behind Connection: close",
      steps: [`${ok}Connection: close\r\nContent-Length: 3\r\n\r\nabc${poison}`],
      body: "abc",
    },
  ]),
  ...passed(interim, [
    {
      name: "interim responses",
      steps: [`${"HTTP/1.1 103 Early Hints\r\nLink: a\r\n\r\n".repeat(3)}${sized("Content-Length: 3")}`],
      body: "abc",
    },
    {
      name: "100 that nobody asked for",
      steps: [`HTTP/1.1 100 Continue\r\n\r\n${sized("Content-Length: 3")}`],
      body: "abc",
    },
    {
      name: "an interim response with a length",
      steps: [`HTTP/1.1 103 Early Hints\r\nContent-Length: 40\r\n\r\n${sized("Content-Length: 3")}`],
      body: "abc",
    },
    {
      name: "an interim response and the rest later",
      steps: ["HTTP/1.1 102 Processing\r\n\r\n", pause, sized("Content-Length: 3")],
      body: "abc",
    },
  ]),
  ...passed(
    { why: "what is for one hop or Troth's own must not come from an application", rfc: "RFC 9110, 7.6.1" },
    [
      {
        name: "a nominated header",
        steps: [sized("Connection: X-A\r\nX-A: 1\r\nX-B: 2\r\nContent-Length: 3")],
        headers: [["x-b", "2"]],
        body: "abc",
      },
      {
        name: "headers for a neighbour",
        steps: [
          sized(
            "Keep-Alive: timeout=1\r\nProxy-Authenticate: Basic\r\nUpgrade: h2c\r\nTE: x\r\nContent-Length: 3",
          ),
        ],
        body: "abc",
      },
      {
        name: "a Troth header",
        steps: [sized("Troth-Undelivered: yes\r\nContent-Length: 3").replace("200 OK", "503 Busy")],
        status: 503,
        body: "abc",
      },
    ],
  ),
  ...passed(framing, [
    { name: "no framing but the end", steps: [`${ok}\r\nabc`, theEnd], body: "abc" },
    { name: "HTTP/1.0 with the end", steps: ["HTTP/1.0 200 OK\r\n\r\nabc", theEnd], body: "abc" },
    {
      name: "HTTP/1.0 with a length",
      steps: ["HTTP/1.0 200 OK\r\nContent-Length: 3\r\n\r\nabc", theEnd],
      body: "abc",
    },
    {
      name: "a body that looks like a response until the end",
      steps: [`${ok}\r\n${poison}`, theEnd],
      body: poison,
    },
    {
      name: "an early answer to a body",
      method: "POST",
      steps: [sized("Content-Length: 3").replace("200 OK", "413 Too Large")],
      status: 413,
      body: "abc",
    },
    { name: "no reason phrase", steps: ["HTTP/1.1 200 \r\nContent-Length: 3\r\n\r\nabc"], body: "abc" },
    {
      name: "no space behind the status",
      steps: ["HTTP/1.1 200\r\nContent-Length: 3\r\n\r\nabc"],
      body: "abc",
    },
    {
      name: "a reason phrase beyond ASCII",
      steps: ["HTTP/1.1 200 \xe9\r\nContent-Length: 3\r\n\r\nabc"],
      body: "abc",
    },
    {
      name: "a name with an underscore in a response",
      steps: [sized("X_Y: a\r\nContent-Length: 3")],
      headers: [["x_y", "a"]],
      body: "abc",
    },
  ]),
  ...refused(coding, [
    ["a length announced as a trailer", announced("Content-Length")],
    ["the coding announced as a trailer", announced("X-Digest, transfer-encoding")],
    ["Trailer announced as a trailer", announced("trailer")],
  ]),
  ...(legalTrailersAre === "refused"
    ? refused(coding, [["a trailer", aTrailer]], true)
    : passed(coding, [{ name: "a trailer", steps: [aTrailer], body: "abc", trailers: [["x-digest", "1"]] }])),
];
