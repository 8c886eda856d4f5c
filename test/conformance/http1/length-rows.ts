import { type CorpusRow, passed, post, type Reason, refused, sized, smuggled } from "./corpus-row.ts";

const both: Reason = {
  why: "one reader ends the body by the length, the other by the chunks; what is between them is smuggled",
  rfc: "RFC 9112, 6.1 and 6.3",
};
const several: Reason = {
  why: "the first reader takes one of the lengths and the second another",
  rfc: "RFC 9110, 8.6; RFC 9112, 6.3",
};
const malformed: Reason = {
  why: "readers that parse numbers loosely see a length where strict ones see none",
  rfc: "RFC 9110, 8.6",
};
const hidden: Reason = {
  why: "a reader that takes the line for another header reads no body",
  rfc: "RFC 9112, 5.1",
};
const chunkedBody = `0\r\n\r\n${smuggled}`;

/** Lengths, and lengths beside a transfer coding. */
export const lengthRows: readonly CorpusRow[] = [
  ...refused(
    both,
    [400],
    [
      ["CL.TE", post([`Content-Length: ${chunkedBody.length}`, "Transfer-Encoding: chunked"], chunkedBody)],
      ["CL.TE with a short length", post(["Content-Length: 5", "Transfer-Encoding: chunked"], chunkedBody)],
      ["TE.CL", post(["Transfer-Encoding: chunked", "Content-Length: 4"], `5c\r\n${smuggled}0\r\n\r\n`)],
      [
        "chunked and a length of nought",
        post(["Transfer-Encoding: chunked", "Content-Length: 0"], "0\r\n\r\n"),
      ],
      [
        "a length of nought and chunked",
        post(["Content-Length: 0", "Transfer-Encoding: chunked"], chunkedBody),
      ],
      [
        "a length on each side of chunked",
        post(["Content-Length: 5", "Transfer-Encoding: chunked", "Content-Length: 5"], "0\r\n\r\n"),
      ],
      [
        "a length and chunked far apart",
        post(
          [
            "Content-Length: 5",
            ...Array.from({ length: 50 }, (_, index) => `X-${index}: a`),
            "Transfer-Encoding: chunked",
          ],
          chunkedBody,
        ),
      ],
      [
        "a length and chunked in capitals",
        post(["CONTENT-LENGTH: 5", "TRANSFER-ENCODING: CHUNKED"], chunkedBody),
      ],
      [
        "a length and chunked in HTTP/1.0",
        sized("Content-Length: 5\r\nTransfer-Encoding: chunked", chunkedBody).replace("HTTP/1.1", "HTTP/1.0"),
      ],
    ],
  ),
  ...refused(
    both,
    [400, 501],
    [
      ["a length and another coding", post(["Content-Length: 3", "Transfer-Encoding: gzip"], "abc")],
      ["another coding and a length", post(["Transfer-Encoding: x", "Content-Length: 3"], "abc")],
      ["a length and identity", post(["Content-Length: 3", "Transfer-Encoding: identity"], "abc")],
      ["a length and an empty coding", post(["Content-Length: 3", "Transfer-Encoding:"], "abc")],
      ["a length and chunked after a tab", post(["Content-Length: 3", "Transfer-Encoding:\tchunked"], "abc")],
      ["a wrong length and chunked", post(["Content-Length: x", "Transfer-Encoding: chunked"], chunkedBody)],
    ],
  ),
  ...refused(
    several,
    [400],
    [
      ["two equal lengths", post(["Content-Length: 3", "Content-Length: 3"], "abc")],
      [
        "two lengths",
        post(["Content-Length: 3", `Content-Length: ${smuggled.length + 3}`], `abc${smuggled}`),
      ],
      [
        "two lengths, the longer one first",
        post([`Content-Length: ${smuggled.length}`, "Content-Length: 0"], smuggled),
      ],
      ["two lengths in different case", post(["Content-Length: 3", "content-length: 4"], "abcd")],
      [
        "two lengths with a line between them",
        post(["Content-Length: 3", "X: y", "Content-Length: 4"], "abcd"),
      ],
      ["a good length and an empty one", post(["Content-Length: 3", "Content-Length:"], "abc")],
      ["a good length and a wrong one", post(["Content-Length: 3", "Content-Length: x"], "abc")],
      ["three lengths", post(["Content-Length: 3", "Content-Length: 3", "Content-Length: 3"], "abc")],
      ["a list of equal lengths", sized("Content-Length: 3, 3")],
      ["a list of equal lengths without spaces", sized("Content-Length: 3,3")],
      ["a list of lengths", sized("Content-Length: 3, 4", "abcd")],
      ["a list that begins with a comma", sized("Content-Length: ,3")],
      ["a list that ends in a comma", sized("Content-Length: 3,")],
    ],
  ),
  ...refused(
    malformed,
    [400],
    [
      ["a length with a plus", sized("Content-Length: +3")],
      ["a length with a minus", sized("Content-Length: -3")],
      ["minus nought", sized("Content-Length: -0", "")],
      ["a length with 0x", sized("Content-Length: 0x3")],
      ["a length with 0o", sized("Content-Length: 0o3")],
      ["a length with a leading zero", sized("Content-Length: 03")],
      ["a length that octal readers take for 8", sized("Content-Length: 010", "0123456789")],
      ["a length of two noughts", sized("Content-Length: 00", "")],
      ["a length with an exponent", sized("Content-Length: 3e0")],
      ["a length with a fraction", sized("Content-Length: 3.0")],
      ["a length with a space inside", sized("Content-Length: 3 0")],
      ["a length with a tab inside", sized("Content-Length: 3\t0")],
      ["a length with an underscore inside", sized("Content-Length: 3_0")],
      ["a length with a thousands mark", sized("Content-Length: 1'000")],
      ["a length in quotes", sized('Content-Length: "3"')],
      ["a length with a unit", sized("Content-Length: 3b")],
      ["a length with a parameter", sized("Content-Length: 3;a")],
      ["a length with a comment", sized("Content-Length: 3 (three)")],
      ["a length in Arabic digits", sized("Content-Length: \xd9\xa3")],
      ["a length in full-width digits", sized("Content-Length: \xef\xbc\x93")],
      ["a length before a no-break space", sized("Content-Length: 3\xa0")],
      ["a length that is a word", sized("Content-Length: three")],
      ["a length that is no number", sized("Content-Length: NaN")],
      ["an infinite length", sized("Content-Length: Infinity")],
      ["an empty length", sized("Content-Length:")],
      ["a blank length", sized("Content-Length:  \t ")],
      ["a length of 16 digits", sized("Content-Length: 1000000000000003")],
      ["a length beyond 53 bits", sized("Content-Length: 9007199254740995")],
      ["a length that 32 bits take for 3", sized("Content-Length: 000004294967299")],
      ["a length that 64 bits take for 3", sized("Content-Length: 18446744073709551619")],
      ["a length that signed 64 bits take for a negative one", sized("Content-Length: 9223372036854775811")],
      ["a length of a thousand digits", sized(`Content-Length: ${"9".repeat(1000)}`)],
      ["a length after a tab", sized("Content-Length:\t3")],
      ["a length after two spaces", sized("Content-Length:  3")],
      ["a length before a space", sized("Content-Length: 3 ")],
      ["a length before a tab", sized("Content-Length: 3\t")],
      ["a length before a vertical tab", sized("Content-Length: 3\x0b")],
      ["a length before a form feed", sized("Content-Length: 3\x0c")],
      ["a length before a NUL", sized("Content-Length: 3\0")],
      ["a length with a NUL inside", sized("Content-Length: 3\x000")],
      ["a folded length", sized("Content-Length:\r\n 3")],
      ["a length folded in its middle", sized("Content-Length: 3\r\n 0")],
    ],
  ),
  ...refused(
    hidden,
    [400],
    [
      ["a length with a space before the colon", sized("Content-Length : 3")],
      ["a length with a tab before the colon", sized("Content-Length\t: 3")],
      ["a length with an underscore in its name", sized("Content_Length: 3")],
      ["a length with a space in its name", sized("Content Length: 3")],
      ["a length with a NUL in its name", sized("Content-Length\0: 3")],
      ["a length with a vertical tab before the colon", sized("Content-Length\x0b: 3")],
      ["a length behind a bare CR", sized("X: y\rContent-Length: 3")],
      ["a length behind a bare LF", sized("X: y\nContent-Length: 3")],
      ["a length behind a space", sized(" Content-Length: 3")],
      ["a length with a soft hyphen", sized("Content\xadLength: 3")],
      ["a length in quotes with its name", sized('"Content-Length": 3')],
      ["a length with two colons", sized("Content-Length:: 3")],
      ["a length with an equals sign", sized("Content-Length=3")],
    ],
  ),
  ...passed({ why: "spelled differently, and one number all the same", rfc: "RFC 9110, 5.1; RFC 9112, 5" }, [
    ["a length without a space", sized("Content-Length:3"), { method: "POST", body: "abc" }],
    ["a length in mixed case", sized("cONTENT-lENGTH: 3"), { method: "POST", body: "abc" }],
    ["a length of nought", sized("Content-Length: 0", ""), { method: "POST" }],
    ["no length at all", post([], ""), { method: "POST" }],
    [
      "a body that is a request",
      sized(`Content-Length: ${smuggled.length}`, smuggled),
      { method: "POST", body: smuggled },
    ],
    [
      "a GET with a body",
      `GET /row HTTP/1.1\r\nHost: app.shop.mesh\r\nContent-Length: 3\r\n\r\nabc`,
      { body: "abc" },
    ],
    [
      "a GET whose body is a request",
      `GET /row HTTP/1.1\r\nHost: app.shop.mesh\r\nContent-Length: ${smuggled.length}\r\n\r\n${smuggled}`,
      { body: smuggled },
    ],
    [
      "a HEAD with a body",
      `HEAD /row HTTP/1.1\r\nHost: app.shop.mesh\r\nContent-Length: 3\r\n\r\nabc`,
      { method: "HEAD", body: "abc" },
    ],
    [
      "a DELETE with a body",
      `DELETE /row HTTP/1.1\r\nHost: app.shop.mesh\r\nContent-Length: 3\r\n\r\nabc`,
      { method: "DELETE", body: "abc" },
    ],
  ]),
  {
    name: "a length beyond what is taken",
    why: "the body would be read for ever, or its end be taken for a request",
    rfc: "RFC 9110, 15.5.14",
    bytes: sized("Content-Length: 999999999999999", smuggled),
    expected: { kind: "refused", statuses: [413] },
  },
];
