import {
  type CorpusRow,
  chunked,
  get,
  getOf,
  host,
  normalised,
  passed,
  post,
  type Reason,
  reachedAs,
  refused,
  sized,
  smuggled,
} from "./corpus-row.ts";

const nominated: Reason = {
  why: "what a sender declares to be for its neighbour alone is gone behind it, and the rest is read without it",
  rfc: "RFC 9110, 7.6.1",
};
const forged: Reason = {
  why: "the application believes these lines, so nobody but its own sidecar may write them",
  rfc: "RFC 9110, 7.6.1; docs/threat-model.md",
};
const upgrade: Reason = {
  why: "who believes in the other protocol reads what follows past every check",
  rfc: "RFC 9110, 7.8; RFC 9113, 3.1",
};
const expectation: Reason = {
  why: "who waits for leave and who does not wait find the body at different places",
  rfc: "RFC 9110, 10.1.1",
};
const pipelined: Reason = {
  why: "what is behind a refused message has no known begin",
  rfc: "RFC 9112, 9.3.2 and 9.6",
};
const first = getOf("/first");

/** Connections, what is for one hop only, and what is behind a message. */
export const connectionRows: readonly CorpusRow[] = [
  ...refused(
    nominated,
    [400],
    [
      ["Connection that takes away the length", sized("Connection: content-length\r\nContent-Length: 3")],
      [
        "Connection that takes away a length behind it",
        sized("Content-Length: 3\r\nConnection: close, Content-Length"),
      ],
      [
        "Connection that takes away the coding",
        post(["Connection: Transfer-Encoding", "Transfer-Encoding: chunked"], "0\r\n\r\n"),
      ],
      ["Connection that takes away the Host", get("Connection: close, HOST")],
      ["Connection with two words in one option", get("Connection: close keep-alive")],
      ["Connection with an option in quotes", get('Connection: "close"')],
      ["Connection with a parameter", get("Connection: close;a")],
      ["Connection with an equals sign", get("Connection: x=y")],
      ["Connection with a byte beyond ASCII", get("Connection: close\xa0")],
      ["Connection with a NUL", get("Connection: close\0")],
      ["Connection with 33 options", get(`Connection: ${"a,".repeat(33)}b`)],
    ],
  ),
  ...normalised(nominated, [
    [
      "a nominated header",
      get("Connection: X-Secret", "X-Secret: 1", "X-Open: 2"),
      { headers: [["x-open", "2"]] },
    ],
    ["a header nominated behind it", get("X-Secret: 1", "Connection: x-SECRET"), {}],
    ["a header nominated twice", get("Connection: X-A, x-a", "Connection: X-A", "X-A: 1", "x-a: 2"), {}],
    ["a nominated credential", get("Connection: Authorization", "Authorization: Bearer x"), {}],
    ["a nominated header that is not there", get("Connection: X-None"), {}],
    ["a list with empty members", get("Connection: ,, X-A ,,", "X-A: 1"), {}],
    ["an empty Connection", get("Connection:"), {}],
    ["Keep-Alive", get("Keep-Alive: timeout=5, max=1000", "Connection: keep-alive"), {}],
    ["Proxy-Connection", get("Proxy-Connection: close"), {}],
    ["Proxy-Authorization", get("Proxy-Authorization: Basic x"), {}],
    [
      "TE nominated as it should be",
      get("Connection: TE", "TE: trailers"),
      {
        headers: [
          ["connection", "TE"],
          ["te", "trailers"],
        ],
      },
    ],
  ]),
  ...normalised(forged, [
    ["a forged certificate", get("X-Forwarded-Client-Cert: Hash=0;URI=spiffe://test.example/shop/admin"), {}],
    [
      "a forged certificate in capitals",
      get("X-FORWARDED-CLIENT-CERT: URI=spiffe://test.example/shop/admin"),
      {},
    ],
    ["a forged certificate twice", get("X-Forwarded-Client-Cert: a", "x-forwarded-client-cert: b"), {}],
    ["a nominated certificate", get("Connection: x-forwarded-client-cert", "X-Forwarded-Client-Cert: a"), {}],
    ["a nominated certificate that is not there", get("Connection: close-not, X-Forwarded-Client-Cert"), {}],
    ["a forged Troth header", get("Troth-Request-Token: forged"), {}],
    ["a Troth header in capitals", get("TROTH-CALL: forged"), {}],
    ["a Troth header with nothing in it", get("Troth-Caller:"), {}],
    ["a nominated Troth header", get("Connection: troth-request-token", "Troth-Request-Token: forged"), {}],
    ["a Troth header of a hop", get("Troth-Undelivered: yes"), {}],
  ]),
  ...(
    [
      ["h2c", get("Connection: Upgrade, HTTP2-Settings", "Upgrade: h2c", "HTTP2-Settings: AAMAAABkAAQAAP__")],
      ["h2c without its settings", get("Connection: Upgrade", "Upgrade: h2c")],
      ["an upgrade that Connection does not name", get("Upgrade: h2c")],
      ["h2c in capitals", get("Connection: UPGRADE", "UPGRADE: H2C")],
      ["a list of protocols", get("Connection: Upgrade", "Upgrade: h2c, websocket")],
      ["TLS", get("Connection: Upgrade", "Upgrade: TLS/1.3")],
      ["an upgrade of a POST", sized("Connection: Upgrade\r\nUpgrade: h2c\r\nContent-Length: 3")],
      ["an empty upgrade", get("Connection: Upgrade", "Upgrade:")],
    ] as const
  ).map(([name, bytes]): CorpusRow => {
    return { ...upgrade, name, bytes, expected: { kind: "answered", status: 501, afterwards: "either" } };
  }),
  ...refused(
    expectation,
    [417],
    [
      ["another expectation", get("Expect: 200-ok")],
      ["an empty expectation", get("Expect:")],
      ["a list of expectations", get("Expect: 100-continue, x")],
      ["an expectation with a parameter", get("Expect: 100-continue;a")],
      ["an expectation and another", get("Expect: 100-continue", "Expect: x")],
    ],
  ),
  ...refused(expectation, [400], [["an expectation with a NUL", get("Expect: 100-continue\0")]]),
  ...passed(expectation, [
    [
      "a body that does not wait for leave",
      sized("Expect: 100-continue\r\nContent-Length: 3"),
      { method: "POST", body: "abc" },
    ],
    [
      "chunks that do not wait for leave",
      chunked("3\r\nabc\r\n0\r\n\r\n").replace("\r\n\r\n", "\r\nExpect: 100-CONTINUE\r\n\r\n"),
      { method: "POST", body: "abc" },
    ],
    ["an expectation without a body", get("Expect: 100-continue"), {}],
  ]),
  {
    ...expectation,
    name: "an expectation of HTTP/1.0",
    bytes:
      "POST /row HTTP/1.0\r\nHost: app.shop.mesh\r\nExpect: 100-continue\r\nContent-Length: 3\r\n\r\nabc",
    expected: reachedAs([{ method: "POST", body: "abc" }], true, "closes"),
  },
  ...[
    ["two lengths", sized("Content-Length: 3\r\nContent-Length: 4", "abcd")] as const,
    [
      "a length and chunked",
      post(["Content-Length: 5", "Transfer-Encoding: chunked"], `0\r\n\r\n${smuggled}`),
    ] as const,
    ["an empty line", `\r\n${smuggled}`] as const,
    ["bare LF", smuggled.replaceAll("\r\n", "\n")] as const,
    ["two Hosts", get("Host: other.shop.mesh")] as const,
    ["a NUL", get("X: \0")] as const,
  ].map(([name, bytes]): CorpusRow => {
    return {
      ...pipelined,
      name: `${name}, behind a request`,
      bytes: first + bytes,
      expected: { kind: "refused", statuses: [400], after: [{ target: "/first" }] },
    };
  }),
  {
    ...pipelined,
    name: "a line end behind a body",
    bytes: `${sized("Content-Length: 3")}\r\n${smuggled}`,
    expected: { kind: "refused", statuses: [400], after: [{ method: "POST", body: "abc" }] },
  },
  {
    ...pipelined,
    name: "more body than was announced",
    bytes: `${sized("Content-Length: 3", "abcdef")}${smuggled}`,
    expected: { kind: "refused", statuses: [400, 501], after: [{ method: "POST", body: "abc" }] },
  },
  {
    ...pipelined,
    name: "bytes behind the last chunk",
    bytes: `${chunked("3\r\nabc\r\n0\r\n\r\n")}0\r\n\r\n${smuggled}`,
    expected: { kind: "refused", statuses: [400, 501], after: [{ method: "POST", body: "abc" }] },
  },
  {
    ...pipelined,
    name: "a request behind Connection: close",
    bytes: get("Connection: close") + smuggled,
    expected: reachedAs([{}], true, "closes"),
  },
  {
    ...pipelined,
    name: "a request behind Connection: close among others",
    bytes: get("Connection: x-a,CLOSE , keep-alive") + smuggled,
    expected: reachedAs([{}], true, "closes"),
  },
  {
    ...pipelined,
    name: "three requests at once",
    bytes: first + sized("Content-Length: 3") + chunked("3\r\nabc\r\n0\r\n\r\n"),
    expected: reachedAs(
      [{ target: "/first" }, { method: "POST", body: "abc" }, { method: "POST", body: "abc" }],
      false,
    ),
  },
  {
    ...pipelined,
    name: "two HEADs and a GET",
    bytes: `HEAD /row HTTP/1.1\r\nHost: ${host}\r\n\r\n`.repeat(2) + first,
    expected: reachedAs([{ method: "HEAD" }, { method: "HEAD" }, { target: "/first" }], false),
  },
];
