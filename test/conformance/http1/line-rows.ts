import {
  type CorpusRow,
  get,
  host,
  normalised,
  passed,
  type Reason,
  refused,
  smuggled,
} from "./corpus-row.ts";

const lineEnd: Reason = {
  why: "readers differ in what ends a line, so that a value becomes a header or a request",
  rfc: "RFC 9112, 2.2",
};
const folded: Reason = {
  why: "one reader joins the lines and another reads a second header, or none",
  rfc: "RFC 9112, 5.2",
};
const control: Reason = {
  why: "readers cut a value at such a byte, drop it or keep it",
  rfc: "RFC 9110, 5.5",
};
const name: Reason = {
  why: "readers trim, drop or fold such a name to that of another header",
  rfc: "RFC 9110, 5.1 and 5.6.2; RFC 9112, 5.1",
};
const size: Reason = {
  why: "what is beyond one reader's limit is not beyond another's, and cut there",
  rfc: "RFC 6585, 5; RFC 9110, 5.4",
};
const begin: Reason = { why: "readers skip different things in front of a request", rfc: "RFC 9112, 2.2" };
const request = `GET /row HTTP/1.1\r\nHost: ${host}\r\n`;

function withControl(what: string, byte: string): [name: string, bytes: string][] {
  return [
    [`${what} in a value`, get(`X: a${byte}b`)],
    [`${what} before a value`, get(`X: ${byte}a`)],
    [`${what} in a name`, get(`X${byte}Y: a`)],
  ];
}

/** Line ends, folding, control bytes, names and sizes of header lines. */
export const lineRows: readonly CorpusRow[] = [
  ...refused(
    lineEnd,
    [400],
    [
      ["bare LF throughout", `GET /row HTTP/1.1\nHost: ${host}\n\n`],
      ["bare LF after the request line", `GET /row HTTP/1.1\nHost: ${host}\r\n\r\n`],
      ["bare LF after a header", `${request}X: y\nY: z\r\n\r\n`],
      ["bare LF after the Host", `GET /row HTTP/1.1\r\nHost: ${host}\nX: y\r\n\r\n`],
      ["bare LF as the empty line", `${request}\n`],
      ["two bare LF at the end", `${request}X: y\n\n`],
      ["a request behind a bare LF as the empty line", `${request}X: y\r\n\n${smuggled}`],
      ["bare CR as the empty line", `${request}\r`],
      ["bare CR after the request line", `GET /row HTTP/1.1\rHost: ${host}\r\n\r\n`],
      ["bare CR throughout", `GET /row HTTP/1.1\rHost: ${host}\r\r`],
      ["CR CR LF after a header", `${request}X: y\r\r\n\r\n`],
      ["CR CR LF as the empty line", `${request}\r\r\n`],
      ["LF CR after a header", `${request}X: y\n\r\r\n`],
      ["CR CR LF after the request line", `GET /row HTTP/1.1\r\r\nHost: ${host}\r\n\r\n`],
      ["a Host behind a bare CR in a value", get("X: a\rHost: other.shop.mesh")],
      ["a Host behind a bare LF in a value", get("X: a\nHost: other.shop.mesh")],
      ["a request behind two bare CR in a value", get(`X: a\r\r${smuggled.trimEnd()}`)],
      ["a line separator of Unicode before a bare LF", get("X: a\xe2\x80\xa8\nY: b")],
      ["a next-line byte and a bare LF", get("X: a\x85\nY: b")],
    ],
  ),
  ...refused(
    folded,
    [400],
    [
      ["a folded value", get("X: a\r\n b")],
      ["a value folded with a tab", get("X: a\r\n\tb")],
      ["an empty value, folded", get("X:\r\n a")],
      ["a folded Host", `GET /row HTTP/1.1\r\nHost: ${host}\r\n .evil\r\n\r\n`],
      ["a folded forwarded certificate", get("X-Forwarded-Client-Cert: a\r\n URI=spiffe://evil")],
      ["a fold before the first header", `GET /row HTTP/1.1\r\n Host: ${host}\r\n\r\n`],
      ["a fold that hides a header", get("X: a\r\n Transfer-Encoding: chunked")],
      ["a line of one space", `${request} \r\n\r\n`],
      ["a line of one tab", `${request}\t\r\n\r\n`],
      ["a line of one space as the empty line", `${request} \r\n${smuggled}`],
    ],
  ),
  ...refused(
    control,
    [400],
    [
      ...withControl("a NUL", "\0"),
      ...withControl("a backspace", "\b"),
      ...withControl("a vertical tab", "\x0b"),
      ...withControl("a form feed", "\x0c"),
      ...withControl("an escape", "\x1b"),
      ...withControl("DEL", "\x7f"),
      ["a NUL at the end of a value", get("X: a\0")],
      ["a NUL in the empty line", `${request}\0\r\n`],
      ["a file separator as the empty line", `${request}\x1c\r\n\r\n`],
    ],
  ),
  ...refused(
    name,
    [400],
    [
      ["no colon", get("Xy")],
      ["no name", get(": a")],
      ["a colon alone", get(":")],
      ["a name that begins with a colon", get(":authority: evil")],
      ["a pseudo-header of HTTP/2", get(":path: /evil")],
      ["a space in a name", get("X Y: a")],
      ["a space before the colon", get("X : a")],
      ["a tab before the colon", get("X\t: a")],
      ["a space before the colon of the Host", `GET /row HTTP/1.1\r\nHost : ${host}\r\n\r\n`],
      ["a name in quotes", get('"X": a')],
      ["a name with a slash", get("X/Y: a")],
      ["a name with a backslash", get("X\\Y: a")],
      ["a name with a bracket", get("X[0]: a")],
      ["a name with a brace", get("X{0}: a")],
      ["a name with a parenthesis", get("X(0): a")],
      ["a name with an at sign", get("X@Y: a")],
      ["a name with an equals sign", get("X=Y: a")],
      ["a name with a semicolon", get("X;Y: a")],
      ["a name with a comma", get("X,Y: a")],
      ["a name with a question mark", get("X?: a")],
      ["a name with an angle bracket", get("<X>: a")],
      ["a name beyond ASCII", get("X\xe9: a")],
      ["a name in UTF-8", get("X\xc3\xa9: a")],
      ["a byte order mark before a name", get("\xef\xbb\xbfX: a")],
      ["a zero-width space in a name", get("X\xe2\x80\x8b: a")],
      ["a forwarded certificate with underscores", get("X_Forwarded_Client_Cert: URI=spiffe://evil")],
      ["a forwarded certificate with one underscore", get("X-Forwarded-Client_Cert: URI=spiffe://evil")],
      ["a Troth header with underscores", get("troth_request_token: a")],
      ["a name with an underscore", get("X_Y: a")],
      ["an underscore alone", get("_: a")],
      ["a request line as a header", `${request}GET /smuggled HTTP/1.1\r\n\r\n`],
      ["a status line as a header", `${request}HTTP/1.1 200 OK\r\n\r\n`],
    ],
  ),
  ...refused(
    size,
    [431],
    [
      ["101 header lines", get(...Array.from({ length: 100 }, (_, index) => `X-${index}: a`))],
      ["1,000 header lines", get(...Array.from({ length: 1000 }, () => "X: a"))],
      ["a value of 16 KiB", get(`X: ${"a".repeat(16_384)}`)],
      ["a value of 200 kB", get(`X: ${"a".repeat(200_000)}`)],
      ["a name of 16 KiB", get(`${"a".repeat(16_384)}: a`)],
      ["a value of 16 KiB of spaces", get(`X:${" ".repeat(16_384)}a`)],
      ["a Host of 16 KiB", `GET /row HTTP/1.1\r\nHost: ${"a".repeat(16_384)}\r\n\r\n`],
    ],
  ),
  ...refused(
    begin,
    [400],
    [
      ["an empty line in front", `\r\n${request}\r\n`],
      ["two empty lines in front", `\r\n\r\n${request}\r\n`],
      ["a bare LF in front", `\n${request}\r\n`],
      ["a bare CR in front", `\r${request}\r\n`],
      ["a space in front", ` ${request}\r\n`],
      ["a tab in front", `\t${request}\r\n`],
      ["a NUL in front", `\0${request}\r\n`],
      ["a byte order mark in front", `\xef\xbb\xbf${request}\r\n`],
      ["a TLS handshake", "\x16\x03\x01\x02\x00\x01\x00"],
      ["a proxy protocol line", `PROXY TCP4 192.0.2.1 192.0.2.2 1 2\r\n${request}\r\n`],
      ["a binary proxy protocol header", `\r\n\r\n\0\r\nQUIT\n!\x11\0\0${request}\r\n`],
      ["a response", "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n"],
      ["a line of another protocol", "EHLO evil\r\n"],
    ],
  ),
  ...normalised({ why: "white space around a value is no part of it", rfc: "RFC 9110, 5.5" }, [
    ["a value among blanks", get("X:  \t a \t "), { headers: [["x", "a"]] }],
    ["a value without a space", get("X:a"), { headers: [["x", "a"]] }],
    ["a blank value", get("X:   "), { headers: [["x", ""]] }],
    ["a Host among blanks", `GET /row HTTP/1.1\r\nHost: \t ${host} \t\r\n\r\n`, {}],
    ["a Host without a space", `GET /row HTTP/1.1\r\nHost:${host}\r\n\r\n`, {}],
  ]),
  ...passed({ why: "unusual and allowed", rfc: "RFC 9110, 5.5 and 5.6.2" }, [
    ["an empty value", get("X:"), { headers: [["x", ""]] }],
    ["a value with a tab inside", get("X: a\tb"), { headers: [["x", "a\tb"]] }],
    ["a value beyond ASCII", get("X: \xe9\xff"), { headers: [["x", "\xe9\xff"]] }],
    ["a value of colons", get("X: ::"), { headers: [["x", "::"]] }],
    ["every mark that a name may have", get("!#$%&'*+-.^`|~: a"), { headers: [["!#$%&'*+-.^`|~", "a"]] }],
    ["a name of digits", get("1: a"), { headers: [["1", "a"]] }],
    [
      "a name twice",
      get("X: a", "x: b"),
      {
        headers: [
          ["x", "a"],
          ["x", "b"],
        ],
      },
    ],
    ["a value that looks like a request", get("X: GET / HTTP/1.1"), { headers: [["x", "GET / HTTP/1.1"]] }],
    [
      "90 header lines",
      get(...Array.from({ length: 90 }, (_, index) => `X-${index + 10}: a`)),
      { headers: Array.from({ length: 90 }, (_, index) => [`x-${index + 10}`, "a"] as const) },
    ],
    ["a value of 8 kB", get(`X: ${"a".repeat(8000)}`), { headers: [["x", "a".repeat(8000)]] }],
  ]),
];
