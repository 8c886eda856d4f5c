import {
  type CorpusRow,
  chunked,
  get,
  legalTrailersAre,
  normalised,
  passed,
  post,
  type Reason,
  reachedAs,
  refused,
  refusedBody,
  smuggled,
} from "./corpus-row.ts";

const obscured: Reason = {
  why: "one reader recognises the coding and reads chunks, the other does not and reads a request in the body",
  rfc: "RFC 9112, 6.1 and 7",
};
const chunkSize: Reason = {
  why: "readers that parse sizes loosely find another end of the chunk, and of the message",
  rfc: "RFC 9112, 7.1",
};
const chunkLine: Reason = {
  why: "readers differ in what ends a line of the coding, so that data becomes framing",
  rfc: "RFC 9112, 2.2, 7.1 and 7.1.1",
};
const forbidden: Reason = {
  why: "merged into the header it would frame, route or authorise a message that has been decided on already",
  rfc: "RFC 9110, 6.5.1; RFC 9112, 7.1.2",
};
const end = "0\r\n\r\n";

function coded(line: string): string {
  return post([line], `3\r\nabc\r\n${end}${smuggled}`);
}

function trailed(...lines: readonly string[]): string {
  return chunked(`3\r\nabc\r\n0\r\n${lines.map((line) => `${line}\r\n`).join("")}\r\n`);
}

function announced(names: string): string {
  return post([`Trailer: ${names}`, "Transfer-Encoding: chunked"], `3\r\nabc\r\n${end}`);
}

const aTrailer = { method: "POST", body: "abc", trailers: [["x-digest", "1"]] } as const;
/** Trailers are named by Connection as headers are. */
const noTrailer = { method: "POST", body: "abc" } as const;
const twoTrailers = {
  method: "POST",
  body: "abc",
  trailers: [
    ["x-a", "1"],
    ["x-b", "2"],
  ],
} as const;

/** The transfer coding, chunks and trailers. */
export const codingRows: readonly CorpusRow[] = [
  ...refused(
    obscured,
    [400, 501],
    [
      ["another coding", coded("Transfer-Encoding: gzip")],
      ["another coding before chunked", coded("Transfer-Encoding: gzip, chunked")],
      ["another coding after chunked", coded("Transfer-Encoding: chunked, gzip")],
      ["an unknown coding before chunked", coded("Transfer-Encoding: cow, chunked")],
      ["identity before chunked", coded("Transfer-Encoding: identity, chunked")],
      ["identity after chunked", coded("Transfer-Encoding: chunked, identity")],
      ["identity", coded("Transfer-Encoding: identity")],
      ["chunked twice in a line", coded("Transfer-Encoding: chunked, chunked")],
      ["a coding that ends in chunked", coded("Transfer-Encoding: xchunked")],
      ["a coding that begins with chunked", coded("Transfer-Encoding: chunkedx")],
      ["a coding that nearly is chunked", coded("Transfer-Encoding: chunke")],
      ["chunked with a comma", coded("Transfer-Encoding: chunked,")],
      ["chunked after a comma", coded("Transfer-Encoding: ,chunked")],
      ["chunked with a parameter", coded("Transfer-Encoding: chunked;q=1")],
      ["chunked with an empty parameter", coded("Transfer-Encoding: chunked;")],
      ["chunked in quotes", coded('Transfer-Encoding: "chunked"')],
      ["chunked in single quotes", coded("Transfer-Encoding: 'chunked'")],
      ["chunked in brackets", coded("Transfer-Encoding: [chunked]")],
      ["an empty coding", coded("Transfer-Encoding:")],
      ["a blank coding", coded("Transfer-Encoding:   ")],
      ["chunked after a no-break space", coded("Transfer-Encoding: \xa0chunked")],
      ["chunked before a no-break space", coded("Transfer-Encoding: chunked\xa0")],
      ["chunked with a Kelvin sign", coded("Transfer-Encoding: chun\xe2\x84\xaaed")],
      ["chunked after a tab", coded("Transfer-Encoding:\tchunked")],
      ["chunked before a tab", coded("Transfer-Encoding: chunked\t")],
      ["chunked after two spaces", coded("Transfer-Encoding:  chunked")],
      ["chunked before a space", coded("Transfer-Encoding: chunked ")],
      ["chunked after a vertical tab", coded("Transfer-Encoding: \x0bchunked")],
      ["chunked before a form feed", coded("Transfer-Encoding: chunked\x0c")],
      ["chunked before a NUL", coded("Transfer-Encoding: chunked\0")],
      ["chunked with a NUL inside", coded("Transfer-Encoding: chun\0ked")],
      ["chunked split by a bare CR", coded("Transfer-Encoding: chun\rked")],
      ["chunked split by a bare LF", coded("Transfer-Encoding: chun\nked")],
      ["chunked split by a fold", coded("Transfer-Encoding: chun\r\n ked")],
      ["chunked on a folded line", coded("Transfer-Encoding:\r\n chunked")],
      ["chunked on a line folded with a tab", coded("Transfer-Encoding:\r\n\tchunked")],
      ["identity and a fold to chunked", coded("Transfer-Encoding: identity\r\n , chunked")],
      ["two chunked lines", coded("Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked")],
      ["chunked and then another line", coded("Transfer-Encoding: chunked\r\nTransfer-Encoding: x")],
      ["another line and then chunked", coded("Transfer-Encoding: x\r\nTransfer-Encoding: chunked")],
      [
        "identity and then a chunked line",
        coded("Transfer-Encoding: identity\r\nTransfer-Encoding: chunked"),
      ],
      ["chunked and then identity", coded("Transfer-Encoding: chunked\r\ntransfer-encoding: identity")],
      ["a space before the colon of the coding", coded("Transfer-Encoding : chunked")],
      ["a tab before the colon of the coding", coded("Transfer-Encoding\t: chunked")],
      ["a vertical tab before the colon of the coding", coded("Transfer-Encoding\x0b: chunked")],
      ["a NUL before the colon of the coding", coded("Transfer-Encoding\0: chunked")],
      ["a NUL before the name of the coding", coded("\0Transfer-Encoding: chunked")],
      ["a no-break space before the colon of the coding", coded("Transfer-Encoding\xa0: chunked")],
      ["an underscore in the name of the coding", coded("Transfer_Encoding: chunked")],
      ["a space in the name of the coding", coded("Transfer Encoding: chunked")],
      ["a bare CR in the name of the coding", coded("Transfer\r-Encoding: chunked")],
      ["a space before the name of the coding", coded(" Transfer-Encoding: chunked")],
      ["the coding folded to the line before it", coded("X: y\r\n Transfer-Encoding: chunked")],
      ["the coding behind a bare CR", coded("X: y\rTransfer-Encoding: chunked")],
      ["the coding behind a bare LF", coded("X: y\nTransfer-Encoding: chunked")],
      ["the coding behind CR CR LF", coded("X: y\r\r\nTransfer-Encoding: chunked")],
      ["the coding with two colons", coded("Transfer-Encoding:: chunked")],
      ["the coding with an equals sign", coded("Transfer-Encoding=chunked")],
      ["chunked in HTTP/1.0", coded("Transfer-Encoding: chunked").replace("HTTP/1.1", "HTTP/1.0")],
      ["a coding on a GET", get("Transfer-Encoding: gzip") + smuggled],
    ],
  ),
  ...refusedBody(
    chunkSize,
    [400],
    [
      ["a size with 0x", chunked(`0x3\r\nabc\r\n${end}`)],
      ["a last size with 0x", chunked(`3\r\nabc\r\n0x0\r\n\r\n${smuggled}`)],
      ["a size with a plus", chunked(`+3\r\nabc\r\n${end}`)],
      ["a size with a minus", chunked(`-3\r\nabc\r\n${end}`)],
      ["minus nought as a size", chunked(`3\r\nabc\r\n-0\r\n\r\n${smuggled}`)],
      ["a size after a space", chunked(` 3\r\nabc\r\n${end}`)],
      ["a size before a space", chunked(`3 \r\nabc\r\n${end}`)],
      ["a size before a tab", chunked(`3\t\r\nabc\r\n${end}`)],
      ["a size before a vertical tab", chunked(`3\x0b\r\nabc\r\n${end}`)],
      ["a size before a NUL", chunked(`3\0\r\nabc\r\n${end}`)],
      ["a size with a space inside", chunked(`0 3\r\nabc\r\n${end}`)],
      ["a size with an underscore inside", chunked(`0_3\r\nabc\r\n${end}`)],
      ["a size with a fraction", chunked(`3.0\r\nabc\r\n${end}`)],
      ["a size in quotes", chunked(`"3"\r\nabc\r\n${end}`)],
      ["a size that is a list", chunked(`3,3\r\nabc\r\n${end}`)],
      ["a size with an h", chunked(`3h\r\nabc\r\n${end}`)],
      ["no size", chunked(`\r\nabc\r\n${end}`)],
      ["a size that is no number", chunked(`g\r\nabc\r\n${end}`)],
      ["a size of nine digits", chunked(`000000003\r\nabc\r\n${end}`)],
      ["a last size of nine digits", chunked(`3\r\nabc\r\n000000000\r\n\r\n${smuggled}`)],
      ["a size that 32 bits take for 3", chunked(`100000003\r\nabc\r\n${end}`)],
      ["a size that 64 bits take for 3", chunked(`10000000000000003\r\nabc\r\n${end}`)],
      ["a size that signed 64 bits take for a negative one", chunked(`8000000000000003\r\nabc\r\n${end}`)],
      ["a size of a thousand digits", chunked(`${"0".repeat(999)}3\r\nabc\r\n${end}`)],
    ],
  ),
  ...refusedBody(
    chunkLine,
    [400],
    [
      ["an extension", chunked(`3;a=b\r\nabc\r\n${end}`)],
      ["an extension without a value", chunked(`3;a\r\nabc\r\n${end}`)],
      ["an empty extension", chunked(`3;\r\nabc\r\n${end}`)],
      ["an extension in quotes with CRLF", chunked(`3;a="\r\nabc\r\n${end}"\r\n${smuggled}`)],
      ["an extension with a bare LF", chunked(`3;a\nabc\r\n${end}`)],
      ["an extension with a bare CR", chunked(`3;a\rb\r\nabc\r\n${end}`)],
      ["an extension after a space", chunked(`3 ;a=b\r\nabc\r\n${end}`)],
      ["an extension of the last chunk", chunked(`3\r\nabc\r\n0;a\r\n\r\n`)],
      ["an extension of 20 kB", chunked(`3;${"a".repeat(20_000)}\r\nabc\r\n${end}`)],
      ["a bare LF after the size", chunked(`3\nabc\r\n${end}`)],
      ["a bare CR after the size", chunked(`3\rabc\r\n${end}`)],
      ["CR CR LF after the size", chunked(`3\r\r\nabc\r\n${end}`)],
      ["LF CR after the size", chunked(`3\n\rabc\r\n${end}`)],
      ["a bare LF after the data", chunked(`3\r\nabc\n${end}`)],
      ["a bare CR after the data", chunked(`3\r\nabc\r${end}`)],
      ["no line end after the data", chunked(`3\r\nabc${end}`)],
      ["two other bytes after the data", chunked(`3\r\nabcXX${end}`)],
      ["an empty line between chunks", chunked(`3\r\nabc\r\n\r\n${end}`)],
      ["data longer than its size", chunked(`3\r\nabcd\r\n${end}`)],
      ["data shorter than its size", chunked(`4\r\nabc\r\n${end}`)],
      ["a bare LF after the last size", chunked(`3\r\nabc\r\n0\n\r\n`)],
      ["a bare LF as the last line", chunked(`3\r\nabc\r\n0\r\n\n`)],
      ["a bare CR as the last line", chunked(`3\r\nabc\r\n0\r\n\r`)],
      ["bare LF throughout the coding", chunked(`3\nabc\n0\n\n`)],
      ["a space as the last line", chunked(`3\r\nabc\r\n0\r\n \r\n`)],
    ],
  ),
  ...refusedBody(
    chunkLine,
    [400, 501],
    [
      ["no last line, so that the next request looks like a trailer", chunked("3\r\nabc\r\n0\r\n")],
      ["a trailer without a colon", trailed("X")],
      ["a trailer with a space before the colon", trailed("X : y")],
      ["a folded trailer", trailed("X: y", " z")],
      ["a trailer with a bare LF", trailed("X: y\nZ: z")],
      ["a trailer with a bare CR", trailed("X: y\rZ: z")],
      ["a trailer with a NUL", trailed("X: \0")],
      ["a trailer with an underscore", trailed("Content_Length: 3")],
    ],
  ),
  ...refusedBody(
    chunkLine,
    [400, 431, 501],
    [
      ["a trailer of 20 kB", trailed(`X: ${"a".repeat(20_000)}`)],
      ["200 trailers", trailed(...Array.from({ length: 200 }, (_, index) => `X-${index}: a`))],
    ],
  ),
  ...refusedBody(
    forbidden,
    [400, 501],
    [
      ["a length as a trailer", trailed("Content-Length: 5")],
      ["the coding as a trailer", trailed("Transfer-Encoding: chunked")],
      ["Host as a trailer", trailed("Host: other.shop.mesh")],
      ["Connection as a trailer", trailed("Connection: close")],
      ["Trailer as a trailer", trailed("Trailer: X")],
      ["TE as a trailer", trailed("TE: trailers")],
      ["Upgrade as a trailer", trailed("Upgrade: h2c")],
      ["Expect as a trailer", trailed("Expect: 100-continue")],
      ["Authorization as a trailer", trailed("Authorization: Bearer x")],
      ["Proxy-Authorization as a trailer", trailed("Proxy-Authorization: Basic x")],
      ["Cookie as a trailer", trailed("Cookie: a=b")],
      ["Content-Type as a trailer", trailed("Content-Type: text/html")],
      ["Content-Encoding as a trailer", trailed("Content-Encoding: gzip")],
      ["a forwarded certificate as a trailer", trailed("X-Forwarded-Client-Cert: URI=spiffe://evil")],
      ["a Troth header as a trailer", trailed("Troth-Request-Token: forged")],
    ],
  ),
  ...refusedBody(
    { ...forbidden, rfc: "RFC 9110, 6.5.1 and 6.6.2" },
    [400, 501],
    [
      ["a length announced as a trailer", announced("Content-Length")],
      ["the coding announced as a trailer", announced("X-Digest, transfer-encoding")],
      ["Trailer announced as a trailer", announced("trailer")],
    ],
  ),
  ...trailers("a trailer", trailed("X-Digest: 1"), aTrailer),
  ...trailers("two trailers", trailed("X-A: 1", "X-B: 2"), twoTrailers),
  ...trailers(
    "a trailer that was announced",
    post(["Trailer: X-Digest", "Transfer-Encoding: chunked"], "3\r\nabc\r\n0\r\nX-Digest: 1\r\n\r\n"),
    aTrailer,
  ),
  ...trailers("a trailer in capitals among blanks", trailed("X-DIGEST: \t 1 "), aTrailer),
  ...trailers("an empty trailer", trailed("X-Digest:"), {
    ...aTrailer,
    trailers: [["x-digest", ""]],
  }),
  ...trailers(
    "a nominated trailer",
    post(["Connection: X-Digest", "Transfer-Encoding: chunked"], "3\r\nabc\r\n0\r\nX-Digest: 1\r\n\r\n"),
    noTrailer,
  ),
  ...passed({ why: "odd, and one body all the same", rfc: "RFC 9112, 7.1" }, [
    ["chunks", chunked(`3\r\nabc\r\n${end}`), { method: "POST", body: "abc" }],
    ["no data at all", chunked(end), { method: "POST" }],
    ["the coding in capitals", post(["TRANSFER-ENCODING: CHUNKED"], end), { method: "POST" }],
    ["the coding without a space", post(["Transfer-Encoding:chunked"], end), { method: "POST" }],
    ["sizes with leading zeros", chunked(`00000003\r\nabc\r\n00\r\n\r\n`), { method: "POST", body: "abc" }],
    ["a size in capitals", chunked(`A\r\n0123456789\r\n${end}`), { method: "POST", body: "0123456789" }],
    ["a size in small letters", chunked(`a\r\n0123456789\r\n${end}`), { method: "POST", body: "0123456789" }],
    ["data that looks like the end", chunked(`5\r\n${end}\r\n${end}`), { method: "POST", body: end }],
    [
      "data that is a request",
      chunked(`${smuggled.length.toString(16)}\r\n${smuggled}\r\n${end}`),
      { method: "POST", body: smuggled },
    ],
    [
      "chunks of one byte",
      chunked(`${"1\r\na\r\n".repeat(200)}${end}`),
      { method: "POST", body: "a".repeat(200) },
    ],
    ["chunks on a GET", chunked(`3\r\nabc\r\n${end}`).replace("POST", "GET"), { body: "abc" }],
  ]),
  ...normalised(
    { why: "what a sender announces of trailers is for its neighbour alone", rfc: "RFC 9110, 10.1.4" },
    [
      [
        "TE: trailers",
        get("TE: trailers"),
        {
          headers: [
            ["connection", "TE"],
            ["te", "trailers"],
          ],
        },
      ],
      ["TE with chunked, which may not stand there", get("TE: chunked;q=0.5"), {}],
      ["TE of nothing", get("TE:"), {}],
    ],
  ),
];

function trailers(
  name: string,
  bytes: string,
  as: NonNullable<Parameters<typeof reachedAs>[0][0]>,
): CorpusRow[] {
  const reason = { why: "one reader passes on what another drops", rfc: "RFC 9112, 7.1.2" };
  return legalTrailersAre === "refused"
    ? refusedBody(reason, [400, 501], [[name, bytes]])
    : [{ ...reason, name, bytes, expected: reachedAs([as], false) }];
}
