import { type CorpusRow, getOf, host, normalised, passed, type Reason, refused } from "./corpus-row.ts";

const characters: Reason = {
  why: "readers cut, encode or rewrite such a target, and then it names something else than what was decided on",
  rfc: "RFC 9112, 3.2; RFC 3986, 3.3",
};
const forms: Reason = {
  why: "one reader takes the authority in the target and another the Host",
  rfc: "RFC 9112, 3.2.1 to 3.2.4 and 3.3",
};
const path: Reason = {
  why: "a server that decodes or strips once more finds another path than the one that was decided on",
  rfc: "RFC 3986, 5.2.4 and 6.2.2",
};
const spelling: Reason = {
  why: "rules and application have to see one spelling",
  rfc: "RFC 3986, 6.2.2; RFC 9110, 4.2.3",
};

function to(target: string): { target: string } {
  return { target };
}

function get(name: string, target: string): [name: string, bytes: string] {
  return [name, getOf(target)];
}

function becomes(name: string, sent: string, target: string): [string, string, { target: string }] {
  return [name, getOf(sent), to(target)];
}

function stays(name: string, target: string): [string, string, { target: string }] {
  return [name, getOf(target), to(target)];
}

/** Targets: their characters, their forms, and the paths in them. */
export const targetRows: readonly CorpusRow[] = [
  ...refused(
    characters,
    [400],
    [
      get("a fragment", "/a#b"),
      get("an empty fragment", "/a#"),
      get("a fragment before dot segments", "/a#/../admin"),
      get("a fragment in the query", "/a?b#c"),
      get("a backslash", "/a\\b"),
      get("dots between backslashes", "/a\\..\\admin"),
      get("a backslash in front", "\\admin"),
      get("a quotation mark", '/a"b'),
      get("angle brackets", "/<a>"),
      get("a byte beyond ASCII", "/\xe9"),
      get("a path in UTF-8", "/\xc3\xa9"),
      get("a full-width slash", "/a\xef\xbc\x8fb"),
      get("a NUL", "/a\0b"),
      get("an escape", "/a\x1bb"),
      get("DEL", "/a\x7fb"),
      get("a byte beyond ASCII in the query", "/?a=\xe9"),
    ],
  ),
  ...refused(
    { ...characters, rfc: "RFC 9112, 3; RFC 9110, 15.5.15" },
    [414],
    [
      get("a path of more than 8 KiB", `/${"a".repeat(8192)}`),
      get("a query of more than 8 KiB", `/?${"a".repeat(8192)}`),
      get("a path of 200 kB", `/${"a".repeat(200_000)}`),
    ],
  ),
  ...refused(
    forms,
    [400],
    [
      get("no slash in front", "row"),
      get("a query in front", "?a"),
      get("dots in front", "../a"),
      get("an asterisk with GET", "*"),
      get("an asterisk and a path", "*/row"),
      get("an authority with GET", `${host}:80`),
      get("a scheme without slashes", "http:row"),
      get("a scheme with one slash", "http:/row"),
      get("https", `https://${host}/row`),
      get("ws", `ws://${host}/row`),
      get("file", "file:///etc/passwd"),
      get("javascript", "javascript:alert(1)"),
      get("another host", "http://other.shop.mesh/row"),
      get("a host that has ours in front", `http://${host}.evil/row`),
      get("a host that has ours behind", `http://evil.${host}/row`),
      get("a port that Host has not", `http://${host}:80/row`),
      get("no host", "http:///row"),
      get("an empty host with a port", "http://:80/row"),
      get("user information", `http://u@${host}/row`),
      get("user information that looks like the host", `http://${host}@other.shop.mesh/row`),
      get("a password", `http://u:p@${host}/row`),
      get("an empty user", `http://@${host}/row`),
      get("a backslash after the scheme", `http:\\\\${host}\\row`),
      get("a backslash after the host", `http://${host}\\@other.shop.mesh/row`),
      get("a triplet in the host", "http://app%2eshop.mesh/row"),
      [
        "an absolute target with another Host",
        `GET http://${host}/row HTTP/1.1\r\nHost: other.shop.mesh\r\n\r\n`,
      ],
      ["an absolute target without a Host", `GET http://${host}/row HTTP/1.1\r\n\r\n`],
      ["an absolute target with an empty Host", `GET http://${host}/row HTTP/1.1\r\nHost:\r\n\r\n`],
      [
        "an absolute target with two Hosts",
        `GET http://${host}/row HTTP/1.1\r\nHost: ${host}\r\nHost: evil\r\n\r\n`,
      ],
    ],
  ),
  ...refused(
    path,
    [400],
    [
      get("above the root", "/.."),
      get("above the root and back", "/../a"),
      get("deep and above the root", "/a/../../b"),
      get("an encoded path above the root", "/%2e%2E/b"),
      get("empty segments that hide the root", "//../b"),
      get("a dot that hides the root", "/./../b"),
      get("above the root of an absolute target", `http://${host}/../b`),
      get("dots with a parameter", "/a/..;/b"),
      get("dots with a named parameter", "/a/..;x=y/b"),
      get("a dot with a parameter", "/a/.;x=y/b"),
      get("encoded dots with a parameter", "/a/%2e%2e;x/b"),
      get("an encoded slash", "/a%2fb"),
      get("an encoded slash in capitals", "/a%2Fb"),
      get("dots around an encoded slash", "/a/..%2fadmin"),
      get("an encoded backslash", "/a%5cb"),
      get("dots before an encoded backslash", "/a/..%5cadmin"),
      get("an encoded NUL", "/a%00b"),
      get("an encoded NUL before a suffix", "/admin%00.png"),
      get("an encoded line feed", "/a%0ab"),
      get("an encoded line end and a header", "/a%0d%0aX:%20y"),
      get("an encoded tab", "/a%09b"),
      get("an encoded DEL", "/a%7fb"),
      get("an encoded NUL in the query", "/?a=%00"),
      get("half a triplet", "/a%2"),
      get("a percent sign alone", "/100%"),
      get("a triplet that is none", "/%zz"),
      get("a triplet with a space", "/%+41"),
      get("a triplet of the %u kind", "/%u002e%u002e/b"),
      get("a triplet that is none in the query", "/?a=%g1"),
      get("an overlong dot", "/%c0%ae%c0%ae/b"),
      get("an overlong slash of two bytes", "/a%c0%afb"),
      get("an overlong slash of three bytes", "/a%e0%80%afb"),
      get("half a character", "/%c3"),
      get("a surrogate", "/%ed%a0%80"),
      get("a character beyond Unicode", "/%f4%90%80%80"),
      get("a byte that UTF-8 has not", "/%ff"),
    ],
  ),
  ...normalised(spelling, [
    becomes("a dot segment", "/a/./b", "/a/b"),
    becomes("a double-dot segment", "/a/../b", "/b"),
    becomes("a double-dot segment at the end", "/a/b/..", "/a/"),
    becomes("a dot segment at the end", "/a/.", "/a/"),
    becomes("encoded dots", "/a/%2e%2e/b", "/b"),
    becomes("half-encoded dots", "/a/.%2E/b", "/b"),
    becomes("an encoded dot segment", "/a/%2e/b", "/a/b"),
    becomes("dots before a query", "/a/..?b", "/?b"),
    becomes("two slashes in front", "//row", "/row"),
    becomes("two slashes and a host", "//other.shop.mesh/row", "/other.shop.mesh/row"),
    becomes("an empty segment", "/a//b", "/a/b"),
    becomes("many empty segments", "/a/////b//", "/a/b/"),
    becomes("an encoded letter", "/%61dmin", "/admin"),
    becomes("an encoded tilde", "/%7Euser", "/~user"),
    becomes("a triplet in small letters", "/%c3%a9", "/%C3%A9"),
    becomes("an encoded question mark", "/a%3fb", "/a%3Fb"),
    becomes("an encoded number sign", "/a%23b", "/a%23b"),
    becomes("an encoded semicolon", "/a%3bb", "/a%3Bb"),
    becomes("an encoded space", "/a%20b", "/a%20b"),
    becomes("an encoded letter in the query", "/?%61=%2f", "/?a=%2F"),
    becomes("an absolute target", `http://${host}/a/../row`, "/row"),
    becomes("an absolute target in capitals", `HTTP://${host.toUpperCase()}/row`, "/row"),
    becomes("an absolute target without a path", `http://${host}`, "/"),
    becomes("an absolute target with a query alone", `http://${host}?a`, "/?a"),
  ]),
  ...normalised(spelling, [
    [
      "an absolute target of OPTIONS without a path",
      `OPTIONS http://${host} HTTP/1.1\r\nHost: ${host}\r\n\r\n`,
      { method: "OPTIONS", target: "*" },
    ],
    [
      "an absolute target with the port of Host",
      `GET http://${host}:8080/row HTTP/1.1\r\nHost: ${host}:8080\r\n\r\n`,
      { host: `${host}:8080` },
    ],
  ]),
  ...passed({ why: "these are the bytes of one path, for every reader", rfc: "RFC 3986, 3.3 and 3.4" }, [
    stays("encoded twice", "/%252e%252e/admin"),
    stays("a slash encoded twice", "/a%252fb"),
    stays("a NUL encoded twice", "/a%2500b"),
    stays("three dots", "/a/.../b"),
    stays("dots and more", "/..a/b../.c"),
    stays("a parameter", "/a;x=y/b"),
    stays("an empty parameter", "/a;/b"),
    stays("dots in the query", "/a?b=../../c"),
    stays("a URL in the query", `/a?b=http://${host}/c//d`),
    stays("several question marks", "/a?b?c"),
    stays("an empty query", "/a?"),
    stays("an encoded line end in the query", "/a?b=%0D%0A"),
    stays("an at sign", "/u@host"),
    stays("a colon", "/a:b"),
    stays("marks", "/-._~!$&'()*+,;=:@"),
    stays("what browsers leave raw", "/a|b^c`d{e}[f]"),
    stays("a plus", "/a+b?c+d"),
    stays("8 KiB", `/${"a".repeat(8191)}`),
  ]),
];
