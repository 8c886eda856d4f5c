import { createServer, type IncomingMessage } from "node:http";
import { Duplex } from "node:stream";
import { isDeepStrictEqual } from "node:util";
import fc from "fast-check";
import {
  defaultHttp1Limits,
  type Http1RequestHead,
  scanRequestHead,
} from "../../src/data-plane/http1/index.ts";
import { refusedHeads } from "./http1-refused-requests.ts";

/** Where one side accepts what the other refuses or reads differently, requests are smuggled. */
const second = "GET /second HTTP/1.1\r\nHost: second\r\nConnection: close\r\n\r\n";

/** What came of giving a head to our scanner and to llhttp. */
export interface Comparison {
  /** Whether ours took it for a request. */
  readonly isAccepted: boolean;
  /** How llhttp reads what we took; undefined where it reads the same. */
  readonly disagreement: string | undefined;
}

/** Compares the two on a head, with a body that fits and another request behind it. */
export async function compareWithLlhttp(head: string): Promise<Comparison> {
  const ours = scan(head);
  if (ours === undefined || isTooLongToSend(ours)) return { isAccepted: false, disagreement: undefined };
  const body = bodyFor(ours);
  const [first, next] = await parse(head + body.coded + second);
  const read = asRead(ours, body.plain);
  const isSame = isDeepStrictEqual(first, read);
  // After a request that is the last of its connection, llhttp refuses whatever comes.
  const isEndSame =
    (!ours.keepAlive && next === "refused") || (typeof next === "object" && next.target === "/second");
  if (isSame && isEndSame) return { isAccepted: true, disagreement: undefined };
  return { isAccepted: true, disagreement: JSON.stringify({ head, ours: read, llhttp: [first, next] }) };
}

const method = weighted(
  ["GET", "POST", "PUT", "HEAD", "OPTIONS", "DELETE", "PATCH"],
  ["CONNECT", "get", "G ET", "", "PURGE", "QUERY"],
);
const target = weighted(
  ["/", "/a", "/a/b?c=d", "/a/../b", "/%41", "http://a/x", "/a//b", "/?[x]={y}|`^"],
  ["*", "/a#b", "/a b", "/\\a", "/\t", "a", "http://b/x", "http://u@a/", "/%zz", '/"', "/\x80", ""],
);
const version = weighted(
  ["HTTP/1.1", "HTTP/1.1", "HTTP/1.1", "HTTP/1.0"],
  ["HTTP/2.0", "HTTP/1.2", "HTTP/1.1 ", "http/1.1", ""],
);
const name = weighted(
  ["Content-Length", "Transfer-Encoding", "Connection", "X-A", "x-b", "Expect", "Accept", "Troth-X"],
  [
    "Host",
    "Content_Length",
    "X A",
    "",
    "Transfer-Encoding ",
    " X",
    "X\0",
    "Upgrade",
    "TE",
    "Content-Length\x0b",
    "X\xe9",
  ],
);
const value = weighted(
  ["3", "0", "chunked", "close", "keep-alive", "a", "a, b", "", "100-continue", "\xe9", "CHUNKED", '"a"'],
  [
    "03",
    "+3",
    "3,3",
    "gzip, chunked",
    "chunked, chunked",
    "\x0bchunked",
    "a\rb",
    "a\nb",
    "a\0",
    "a\r\n b",
    "x-a",
    "\x7f",
    "identity",
    "chunked;a",
  ],
);
const gap = weighted([" ", " ", " ", "", "  ", "\t"], [" \x0b", "\r\n ", "\n"]);
const lineEnd = weighted(["\r\n"], ["\n", "\r", "\r\r\n", " \r\n", "\t\r\n"]);

const header = fc
  .tuple(name, gap, value, lineEnd)
  .map(([name, gap, value, end]) => `${name}:${gap}${value}${end}`);
/** Heads in which most parts are in order. */
export const anyRequestHead: fc.Arbitrary<string> = fc
  .tuple(method, target, version, lineEnd, fc.array(header, { maxLength: 4 }), lineEnd)
  .map(
    ([method, target, version, end, headers, last]) =>
      `${method} ${target} ${version}${end}Host: a\r\n${headers.join("")}${last}`,
  );

const seeds = [
  "GET /a?b HTTP/1.1\r\nHost: a\r\nX-A: b\r\n\r\n",
  "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\n\r\n",
  "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n",
  "GET http://a/x HTTP/1.1\r\nHost: a\r\nConnection: keep-alive, x\r\n\r\n",
];
const refusedSeeds = refusedHeads.map(({ bytes }) => bytes).filter((bytes) => bytes.length < 400);
const seed = fc.oneof(fc.constantFrom(...seeds), fc.constantFrom(...refusedSeeds));
const nasty = fc.constantFrom(
  "\r",
  "\n",
  "\0",
  " ",
  "\t",
  ":",
  ",",
  ";",
  "_",
  "#",
  "%",
  "/",
  "\\",
  "\x0b",
  "\x80",
  "0",
  "1",
  "a",
  "",
);
/** Heads, good and refused ones, with changed bytes. */
export const mutatedHead: fc.Arbitrary<string> = fc
  .tuple(seed, fc.array(fc.tuple(fc.nat(400), fc.nat(2), nasty), { maxLength: 3 }))
  .map(([seed, edits]) =>
    edits.reduce((text, [place, cut, insert]) => {
      const at = place % (text.length + 1);
      return text.slice(0, at) + insert + text.slice(at + cut);
    }, seed),
  );

/** Mostly from the first list, so that enough requests are in order in every part. */
function weighted(good: readonly string[], bad: readonly string[]): fc.Arbitrary<string> {
  return fc.oneof(
    { weight: 14, arbitrary: fc.constantFrom(...good) },
    { weight: 1, arbitrary: fc.constantFrom(...bad) },
  );
}

/** Heads that end within the text; what asks for another protocol is refused behind the scanner. */
function scan(text: string): Http1RequestHead | undefined {
  const window = Buffer.from(text, "latin1");
  const head = scanRequestHead(window, 0, window.length, defaultHttp1Limits);
  return head.kind === "head" && head.section.end === window.length && !head.wantsUpgrade ? head : undefined;
}

function bodyFor(head: Http1RequestHead): { coded: string; plain: string } {
  switch (head.framing.kind) {
    case "length": {
      const plain = "x".repeat(head.framing.bytes);
      return { coded: plain, plain };
    }
    case "chunked":
      return { coded: "3\r\nabc\r\n0A\r\n0123456789\r\n0\r\n\r\n", plain: "abc0123456789" };
    case "none":
    case "until-close":
      return { coded: "", plain: "" };
  }
}

function isTooLongToSend(head: Http1RequestHead): boolean {
  return head.framing.kind === "length" && head.framing.bytes > 10_000;
}

interface ReadRequest {
  readonly method: string;
  readonly target: string;
  readonly version: string;
  readonly headers: readonly string[];
  readonly body: string;
}

function asRead(head: Http1RequestHead, body: string): ReadRequest {
  const { section } = head;
  const { window } = section;
  const headers: string[] = [];
  for (let line = 0; line < section.lines; line += 1)
    headers.push(
      window.toString("latin1", section.nameStart(line), section.nameEnd(line)),
      window.toString("latin1", section.valueStart(line), section.valueEnd(line)),
    );
  return {
    method: head.method,
    target: window.toString("latin1", head.methodEnd + 1, head.targetEnd),
    version: `1.${head.minorVersion}`,
    headers,
    body,
  };
}

/** What node:http, which is llhttp in its strict mode, reads from one connection. */
async function parse(text: string): Promise<(ReadRequest | "refused")[]> {
  const read: (ReadRequest | "refused")[] = [];
  const parts = { open: 0 };
  return new Promise((resolve) => {
    // A parser that waits for more than there is has read another length than we did.
    const patience = setTimeout(() => finish(), 1_000);
    const finish = (): void => {
      clearTimeout(patience);
      // A body that ended before what was refused is told of in this turn.
      setImmediate(() => {
        // The parser is let go with the connection, and not before.
        pipe.destroy();
        resolve(read);
      });
    };
    const settle = (): void => {
      if (parts.open === 0 && (read.length >= 2 || read.includes("refused"))) finish();
    };
    const server = createServer({ keepAliveTimeout: 0, maxHeaderSize: 65_536 });
    const onRequest = (incoming: IncomingMessage): void => {
      const place = read.length;
      parts.open += 1;
      const { method = "", url: target = "", httpVersion: version, rawHeaders: headers } = incoming;
      const chunks: Buffer[] = [];
      read.push({ method, target, version, headers, body: "" });
      incoming.on("data", (chunk: Buffer) => chunks.push(chunk));
      incoming.on("end", () => {
        read[place] = { method, target, version, headers, body: Buffer.concat(chunks).toString("latin1") };
        parts.open -= 1;
        settle();
      });
    };
    for (const event of ["request", "checkContinue", "checkExpectation"]) server.on(event, onRequest);
    server.on("clientError", () => {
      read.push("refused");
      parts.open = 0;
      settle();
    });
    const pipe = new Duplex({ read: () => {}, write: (_, __, done) => done() });
    server.emit("connection", pipe);
    pipe.push(Buffer.from(text, "latin1"));
  });
}
