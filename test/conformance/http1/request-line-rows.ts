import {
  type CorpusRow,
  getOf,
  host,
  passed,
  type Reason,
  reachedAs,
  refused,
  smuggled,
} from "./corpus-row.ts";

const line: Reason = {
  why: "readers split such a line differently, into another method, target or version",
  rfc: "RFC 9112, 3",
};
const version: Reason = {
  why: "readers take another version for one that they know, with its own framing",
  rfc: "RFC 9112, 2.3; RFC 9110, 2.5",
};
const method: Reason = {
  why: "another method may frame its message or answer in another way",
  rfc: "RFC 9110, 9; RFC 9112, 3.1",
};
const headers = `Host: ${host}\r\n\r\n`;

function methodOf(text: string): string {
  return `${text} /row HTTP/1.1\r\n${headers}`;
}

function versionOf(text: string): string {
  return `GET /row ${text}\r\n${headers}`;
}

/** Methods, versions, and what is between them. */
export const requestLineRows: readonly CorpusRow[] = [
  ...refused(
    line,
    [400],
    [
      ["two spaces before the target", `GET  /row HTTP/1.1\r\n${headers}`],
      ["two spaces after the target", `GET /row  HTTP/1.1\r\n${headers}`],
      ["a tab before the target", `GET\t/row HTTP/1.1\r\n${headers}`],
      ["a tab after the target", `GET /row\tHTTP/1.1\r\n${headers}`],
      ["a vertical tab before the target", `GET\x0b/row HTTP/1.1\r\n${headers}`],
      ["a form feed after the target", `GET /row\x0cHTTP/1.1\r\n${headers}`],
      ["a no-break space before the target", `GET\xa0/row HTTP/1.1\r\n${headers}`],
      ["a bare CR before the target", `GET\r/row HTTP/1.1\r\n${headers}`],
      ["a space in the target", `GET /row more HTTP/1.1\r\n${headers}`],
      ["a request line in the target", `GET /row HTTP/1.1 /more HTTP/1.1\r\n${headers}`],
      ["a space after the version", `GET /row HTTP/1.1 \r\n${headers}`],
      ["a tab after the version", `GET /row HTTP/1.1\t\r\n${headers}`],
      ["a word after the version", `GET /row HTTP/1.1 x\r\n${headers}`],
      ["no target", `GET HTTP/1.1\r\n${headers}`],
      ["an empty target", `GET  HTTP/1.1\r\n${headers}`],
      ["no method", ` /row HTTP/1.1\r\n${headers}`],
      ["a target alone", `/row HTTP/1.1\r\n${headers}`],
      ["a folded request line", `GET /row\r\n HTTP/1.1\r\n${headers}`],
      ["a NUL after the target", `GET /row\0 HTTP/1.1\r\n${headers}`],
      ["a bare LF in the target", `GET /row\n HTTP/1.1\r\n${headers}`],
      ["a bare CR in the target", `GET /row\r HTTP/1.1\r\n${headers}`],
      ["a request line in quotes", `"GET /row HTTP/1.1"\r\n${headers}`],
    ],
  ),
  ...refused(
    version,
    [400, 505],
    [
      ["HTTP/0.9 without a version", "GET /row\r\n"],
      ["HTTP/0.9 without a version but with headers", `GET /row\r\n${headers}`],
      ["HTTP/0.9 with a space", "GET /row \r\n"],
      ["HTTP/0.9 with its version", versionOf("HTTP/0.9")],
      ["HTTP/1.2", versionOf("HTTP/1.2")],
      ["HTTP/1.9", versionOf("HTTP/1.9")],
      ["HTTP/2.0", versionOf("HTTP/2.0")],
      ["HTTP/2", versionOf("HTTP/2")],
      ["HTTP/3.0", versionOf("HTTP/3.0")],
      ["HTTP/0.0", versionOf("HTTP/0.0")],
      ["HTTP/9.9", versionOf("HTTP/9.9")],
      ["a version in small letters", versionOf("http/1.1")],
      ["a version in mixed case", versionOf("Http/1.1")],
      ["a version of one number", versionOf("HTTP/1")],
      ["a version without its minor number", versionOf("HTTP/1.")],
      ["a version without its major number", versionOf("HTTP/.1")],
      ["a version with a comma", versionOf("HTTP/1,1")],
      ["a version of three digits", versionOf("HTTP/1.10")],
      ["a version of three numbers", versionOf("HTTP/1.1.1")],
      ["a version with a leading zero", versionOf("HTTP/01.1")],
      ["a version with another leading zero", versionOf("HTTP/1.01")],
      ["a version with a plus", versionOf("HTTP/+1.1")],
      ["a negative version", versionOf("HTTP/-1.1")],
      ["a version in hexadecimal", versionOf("HTTP/1.a")],
      ["a version with a space inside", versionOf("HTTP /1.1")],
      ["a version with a space after the slash", versionOf("HTTP/ 1.1")],
      ["a version with a backslash", versionOf("HTTP\\1.1")],
      ["a version without a slash", versionOf("HTTP1.1")],
      ["a version with a NUL", versionOf("HTTP/1.1\0")],
      ["another protocol", versionOf("ICY/1.1")],
      ["RTSP", versionOf("RTSP/1.0")],
      ["a protocol name that is longer", versionOf("HTTPS/1.1")],
      ["the preface of HTTP/2 with another target", "PRI / HTTP/2.0\r\n\r\nSM\r\n\r\n"],
    ],
  ),
  ...[
    ["the preface of HTTP/2 without its end", `PRI * HTTP/2.0\r\n\r\n${smuggled}`] as const,
    ["the preface of HTTP/2 with a header", `PRI * HTTP/2.0\r\nHost: ${host}\r\n\r\nSM\r\n\r\n`] as const,
    ["the preface of HTTP/2 with another version", "PRI * HTTP/2.1\r\n\r\nSM\r\n\r\n"] as const,
  ].map(([name, bytes]): CorpusRow => {
    return {
      ...version,
      name,
      bytes,
      expected: { kind: "refused", statuses: [400, 505], mayBeSilent: true },
    };
  }),
  {
    ...version,
    name: "the preface of HTTP/2 behind a request",
    bytes: `${getOf("/row")}PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n`,
    expected: { kind: "refused", statuses: [400, 505], after: [{}] },
  },
  ...refused(
    method,
    [400, 501],
    [
      ["an unknown method", methodOf("FROBNICATE")],
      ["a method in small letters", methodOf("get")],
      ["a method in mixed case", methodOf("Get")],
      ["a method with a letter too many", methodOf("GETS")],
      ["a method with a letter too few", methodOf("GE")],
      ["a method with a dash", methodOf("GET-")],
      ["a method with an underscore", methodOf("GET_X")],
      ["a method with a bracket", methodOf("G[T")],
      ["a method with a colon", methodOf("GET:")],
      ["a method with a slash", methodOf("GET/")],
      ["a method with a NUL", methodOf("G\0T")],
      ["a method beyond ASCII", methodOf("G\xc9T")],
      ["a method with a comma", methodOf("GET,POST")],
      ["a method in quotes", methodOf('"GET"')],
      ["a method of 33 letters", methodOf("A".repeat(33))],
      ["a method of 20 kB", methodOf("A".repeat(20_000))],
      ["TRACE", methodOf("TRACE")],
      ["TRACK", methodOf("TRACK")],
      ["CONNECT to a path", methodOf("CONNECT")],
      ["PRI with a version of ours", `PRI * HTTP/1.1\r\n${headers}`],
      ["a debugging method", methodOf("DEBUG")],
    ],
  ),
  // An application may open a tunnel to a service over TCP, which this is none; a peer over HTTP/1.1 may not.
  ...refused(
    { why: "a tunnel is for bytes of which no HTTP is read", rfc: "RFC 9110, 9.3.6" },
    [400, 421, 501],
    [
      ["CONNECT to an authority", `CONNECT ${host}:443 HTTP/1.1\r\n${headers}`],
      [
        "CONNECT with a request behind it",
        `CONNECT ${host}:80 HTTP/1.1\r\nHost: ${host}:80\r\n\r\n${smuggled}`,
      ],
      [
        "CONNECT with a body",
        `CONNECT ${host}:80 HTTP/1.1\r\nHost: ${host}:80\r\nContent-Length: ${smuggled.length}\r\n\r\n${smuggled}`,
      ],
      ["CONNECT in HTTP/1.0 with a request behind it", `CONNECT ${host}:80 HTTP/1.0\r\n\r\n${smuggled}`],
    ],
  ),
  ...passed({ why: "a request without a body, of an unusual kind", rfc: "RFC 9110, 9" }, [
    ["HEAD", methodOf("HEAD"), { method: "HEAD" }],
    ["OPTIONS", methodOf("OPTIONS"), { method: "OPTIONS" }],
    ["DELETE", methodOf("DELETE"), { method: "DELETE" }],
    ["PROPFIND", methodOf("PROPFIND"), { method: "PROPFIND" }],
    ["PATCH without a body", methodOf("PATCH"), { method: "PATCH" }],
    ["QUERY", methodOf("QUERY"), { method: "QUERY" }],
    ["OPTIONS of everything", `OPTIONS * HTTP/1.1\r\n${headers}`, { method: "OPTIONS", target: "*" }],
  ]),
  ...[
    ["HTTP/1.0", versionOf("HTTP/1.0")] as const,
    [
      "HTTP/1.0 that wants to go on",
      `GET /row HTTP/1.0\r\nHost: ${host}\r\nConnection: keep-alive\r\n\r\n`,
    ] as const,
  ].map(([name, bytes]) => ({
    name,
    bytes,
    why: "a request behind it would be framed by rules that HTTP/1.0 does not have",
    rfc: "RFC 9112, 9.3 and C.2.2",
    expected: reachedAs([{}], true, "closes"),
  })),
];
