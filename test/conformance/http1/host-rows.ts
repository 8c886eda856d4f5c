import { type CorpusRow, getFrom, host, normalised, passed, type Reason, refused } from "./corpus-row.ts";

const repeated: Reason = {
  why: "one reader routes by the first Host, another by the last",
  rfc: "RFC 9112, 3.2; RFC 9110, 7.2",
};
const malformed: Reason = {
  why: "readers cut such a Host at different places and come to different authorities",
  rfc: "RFC 9110, 4.2.4 and 7.2; RFC 3986, 3.2",
};
const hidden: Reason = {
  why: "one reader takes the line for a Host and another does not",
  rfc: "RFC 9112, 3.2 and 5.1",
};

function from(name: string, value: string): [name: string, bytes: string] {
  return [name, getFrom(`Host: ${value}\r\n`)];
}

const answered404: CorpusRow["expected"] = { kind: "answered", status: 404, afterwards: "continues" };

/** Whom a request is for. */
export const hostRows: readonly CorpusRow[] = [
  ...refused(
    repeated,
    [400],
    [
      ["two Hosts", getFrom(`Host: ${host}\r\nHost: other.shop.mesh\r\n`)],
      ["two Hosts, ours last", getFrom(`Host: other.shop.mesh\r\nHost: ${host}\r\n`)],
      ["two equal Hosts", getFrom(`Host: ${host}\r\nHost: ${host}\r\n`)],
      ["two Hosts in different case", getFrom(`Host: ${host}\r\nhOST: other.shop.mesh\r\n`)],
      ["two Hosts far apart", getFrom(`Host: ${host}\r\n${"X: y\r\n".repeat(60)}Host: other.shop.mesh\r\n`)],
      ["a Host and an empty one", getFrom(`Host: ${host}\r\nHost:\r\n`)],
      ["two Hosts in HTTP/1.0", getFrom(`Host: ${host}\r\nHost: evil\r\n`).replace("HTTP/1.1", "HTTP/1.0")],
      ["no Host", getFrom("X: a\r\n")],
      ["no header at all", getFrom("")],
    ],
  ),
  ...refused(
    malformed,
    [400],
    [
      from("an empty Host", ""),
      from("a blank Host", "  "),
      from("a list of Hosts", `${host}, other.shop.mesh`),
      from("a list of Hosts without spaces", `${host},other.shop.mesh`),
      from("a Host with a space", `${host} other.shop.mesh`),
      from("a Host with a tab", `${host}\tother.shop.mesh`),
      from("a Host with user information", `u@${host}`),
      from("a Host that is user information", `${host}@other.shop.mesh`),
      from("a Host with a password", `u:p@${host}`),
      from("a Host with a path", `${host}/other`),
      from("a Host with a query", `${host}?a`),
      from("a Host with a fragment", `${host}#a`),
      from("a Host with a backslash", `${host}\\other`),
      from("a Host with a semicolon", `${host};a`),
      from("a Host with an apostrophe", `${host}'`),
      from("a Host in quotes", `"${host}"`),
      from("a Host in brackets", `[${host}]`),
      from("a Host with a scheme", `http://${host}`),
      from("a Host with two slashes", `//${host}`),
      from("a Host with a triplet", "%61pp.shop.mesh"),
      from("a Host with an encoded NUL", `${host}%00`),
      from("a Host beyond ASCII", "\xe4pp.shop.mesh"),
      from("a Host with a full-width dot", "app\xef\xbc\x8eshop.mesh"),
      from("a Host with NUL", `${host}\0`),
      from("a Host with a vertical tab", `${host}\x0b`),
      from("a Host with an asterisk", "*.shop.mesh"),
      from("an empty port", `${host}:`),
      from("a port that is no number", `${host}:http`),
      from("a port with a plus", `${host}:+80`),
      from("a port with a minus", `${host}:-80`),
      from("a port with a space", `${host}: 80`),
      from("a port in hexadecimal", `${host}:0x50`),
      from("a port beyond 65535", `${host}:65536`),
      from("a port that 16 bits take for 80", `${host}:65616`),
      from("a port of twenty digits", `${host}:00000000000000000080`),
      from("two ports", `${host}:80:81`),
      from("a port alone", ":80"),
      from("an IPv6 address without brackets", "::1"),
      from("an open bracket", "[::1"),
      from("a closing bracket alone", "::1]"),
      from("a name behind brackets", `[::1]${host}`),
      from("a zone in an IPv6 address", "[fe80::1%25eth0]"),
    ],
  ),
  ...refused(
    hidden,
    [400],
    [
      ["a space before the colon of a second Host", getFrom(`Host: ${host}\r\nHost : other.shop.mesh\r\n`)],
      ["a space before a second Host", getFrom(`Host: ${host}\r\n Host: other.shop.mesh\r\n`)],
      ["a second Host with a NUL", getFrom(`Host: ${host}\r\nHost\0: other.shop.mesh\r\n`)],
      ["a second Host behind a bare LF", getFrom(`Host: ${host}\nHost: other.shop.mesh\r\n`)],
      ["a second Host behind a bare CR", getFrom(`X: a\rHost: other.shop.mesh\r\nHost: ${host}\r\n`)],
      ["a Host after a fold", getFrom(`Host:\r\n ${host}\r\n`)],
      ["a Host behind a no-break space", getFrom(`Host: \xa0${host}\r\n`)],
    ],
  ),
  ...normalised(
    { why: "names are the same in both cases, and one spelling is passed on", rfc: "RFC 3986, 6.2.2.1" },
    [
      ["a Host in capitals", getFrom(`Host: ${host.toUpperCase()}\r\n`), {}],
      ["a Host in mixed case", getFrom("Host: App.sHop.MESH\r\n"), {}],
    ],
  ),
  ...passed({ why: "a port does not change whom a name of the mesh is for", rfc: "RFC 9110, 7.2" }, [
    ["a Host with a port", getFrom(`Host: ${host}:80\r\n`), { host: `${host}:80` }],
    ["a Host with the highest port", getFrom(`Host: ${host}:65535\r\n`), { host: `${host}:65535` }],
    [
      "a Host behind 60 lines",
      getFrom(`${"X: y\r\n".repeat(60)}Host: ${host}\r\n`),
      {
        headers: Array.from({ length: 60 }, () => ["x", "y"] as const),
      },
    ],
  ]),
  ...[
    from("a service that is not there", "nobody.shop.mesh"),
    from("a name that is not of the mesh", "example.com"),
    from("an IPv4 address", "127.0.0.1"),
    from("an IPv6 address", "[::1]:80"),
    from("a Host with an underscore", "app_shop.mesh"),
    from("the name under another", `${host}.evil`),
    from("dots alone", ".."),
  ].map(([name, bytes]) => ({
    name,
    bytes,
    why: "nobody else's service is reached by a name that only resembles it",
    rfc: "RFC 9110, 7.4",
    expected: answered404,
    isForEdgeOnly: true,
  })),
];
