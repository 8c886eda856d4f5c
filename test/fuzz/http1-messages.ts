import fc from "fast-check";
import {
  BodyCursor,
  defaultHttp1Limits,
  type HeaderSection,
  scanRequestHead,
  scanResponseHead,
} from "../../src/data-plane/http1/index.ts";

/** What a message says, whatever its coding and its pieces: all that a proxy may not change. */
export interface Meaning {
  /** Method and target, or status. */
  readonly start: string;
  /** Statuses of the interim responses before it. */
  readonly interim: readonly number[];
  /** Without those about framing and those that a proxy adds; names in small letters, sorted. */
  readonly fields: readonly string[];
  /** As it was declared, where it was. */
  readonly contentLength: number | undefined;
  readonly body: string;
  readonly trailers: readonly string[];
}

/** One message as it is written, and how its writes are cut. */
export interface WrittenMessage {
  readonly text: string;
  readonly cuts: readonly number[];
  readonly meaning: Meaning;
  /** Whether only the end of the connection ends it. */
  readonly endsByClosing: boolean;
}

const fieldName = fc.constantFrom("X-A", "x-b", "Accept", "X-C'", "ETag");
const fieldValue = fc.constantFrom("", "1", "a b", "close", "\xe9\xff", "a,b;c", "0\r\n\r\n".trim());
const fields = fc.array(fc.tuple(fieldName, fieldValue), { maxLength: 5 });
const pieces = fc.array(
  fc.oneof(
    fc.constantFrom("a", "0\r\n\r\n", "GET / HTTP/1.1\r\n\r\n", "HTTP/1.1 200 OK\r\n\r\n", "c".repeat(300)),
    fc.string({ minLength: 1, maxLength: 20, unit: "binary-ascii" }),
    fc.constantFrom("d".repeat(20_000), "e".repeat(70_000)),
  ),
  { maxLength: 5 },
);
const trailers = fc.oneof(
  fc.constant([]),
  fc.array(fc.tuple(fc.constantFrom("Digest", "x-t", "grpc-status"), fieldValue), { maxLength: 4 }),
);
const cuts = fc.array(fc.oneof(fc.nat(60), fc.nat(2_000), fc.nat(120_000)), { maxLength: 6 });

/** Any request that a proxy passes on. */
export const anyRequest: fc.Arbitrary<WrittenMessage> = fc
  .record({
    method: fc.constantFrom("GET", "POST", "PUT", "HEAD", "OPTIONS", "DELETE", "QUERY"),
    fields,
    framing: fc.constantFrom("none", "length", "chunked", "chunked"),
    pieces,
    trailers,
    cuts,
  })
  .map(({ method, framing, ...parts }) => {
    const start = `${method} /x?y`;
    return write(`${start} HTTP/1.1\r\nHost: a\r\n`, { ...parts, start, framing, interim: [] });
  });

/** Any response that a proxy passes on, to a request of a method. */
export function anyResponse(method: string): fc.Arbitrary<WrittenMessage> {
  return fc
    .record({
      status: fc.constantFrom(200, 200, 201, 204, 304, 404, 500),
      interim: fc.array(fc.constantFrom(100, 102, 103), { maxLength: 3 }),
      fields,
      framing: fc.constantFrom("none", "length", "chunked", "chunked", "until-close"),
      pieces,
      trailers,
      cuts,
    })
    .map(({ status, framing: wanted, interim, ...parts }) => {
      const isBodiless = method === "HEAD" || status === 204 || status === 304;
      const framing = status === 204 && wanted !== "length" ? "none" : wanted;
      const hints = interim.map((one) => `HTTP/1.1 ${one} Soon\r\nLink: a\r\n\r\n`).join("");
      const start = `${hints}HTTP/1.1 ${status} Fine\r\n`;
      const message = { ...parts, start: String(status), framing, interim };
      return isBodiless ? writeBodiless(start, message) : write(start, message);
    });
}

interface Parts {
  readonly start: string;
  readonly interim: readonly number[];
  readonly framing: string;
  readonly fields: readonly [string, string][];
  readonly pieces: readonly string[];
  readonly trailers: readonly [string, string][];
  readonly cuts: readonly number[];
}

function write(start: string, parts: Parts): WrittenMessage {
  const { framing, pieces: written } = parts;
  const hasBody = framing !== "none";
  const isChunked = framing === "chunked";
  const body = hasBody ? written.join("") : "";
  const chunks = written.map((piece) => `${piece.length.toString(16)}\r\n${piece}\r\n`).join("");
  const last = `0\r\n${linesOf(parts.trailers)}\r\n`;
  const isResponse = start.startsWith("HTTP");
  // Where trailers are announced, a proxy may take a length away to have a place for them.
  const announced = isChunked && parts.trailers.length > 1 ? "Trailer: x-t\r\n" : "";
  const length = framing === "length" ? body.length : framing === "none" && isResponse ? 0 : undefined;
  const framingLine =
    length === undefined
      ? isChunked
        ? "Transfer-Encoding: chunked\r\n"
        : ""
      : `Content-Length: ${length}\r\n`;
  return {
    text: `${start}${linesOf(parts.fields)}${announced}${framingLine}\r\n${isChunked ? chunks + last : body}`,
    cuts: parts.cuts,
    endsByClosing: framing === "until-close",
    meaning: {
      start: parts.start,
      interim: parts.interim,
      fields: meaningOfFields(announced === "" ? parts.fields : [...parts.fields, ["trailer", "x-t"]]),
      contentLength: length,
      body,
      trailers: isChunked ? parts.trailers.map(([name, value]) => `${name.toLowerCase()}: ${value}`) : [],
    },
  };
}

/** A response that has no body, whatever it declares. */
function writeBodiless(start: string, parts: Parts): WrittenMessage {
  const whole = write(start, { ...parts, pieces: parts.framing === "length" ? parts.pieces : [] });
  const end = whole.text.indexOf("\r\n\r\n", start.length - 2) + 4;
  const isNoContent = parts.start === "204";
  return {
    ...whole,
    text: whole.text.slice(0, end),
    endsByClosing: false,
    meaning: {
      ...whole.meaning,
      body: "",
      trailers: [],
      contentLength: isNoContent ? undefined : whole.meaning.contentLength,
    },
  };
}

function linesOf(lines: readonly [string, string][]): string {
  return lines.map(([name, value]) => `${name}: ${value}\r\n`).join("");
}

function meaningOfFields(lines: readonly [string, string][]): string[] {
  return lines.map(([name, value]) => `${name.toLowerCase()}: ${value}`).toSorted();
}

/** Reads one request; undefined while it is not whole. Answers with its length too. */
export function readRequest(text: string): { meaning: Meaning; end: number } | undefined {
  const window = Buffer.from(text, "latin1");
  const head = scanRequestHead(window, 0, window.length, defaultHttp1Limits);
  if (head.kind === "need-more") return undefined;
  if (head.kind === "refused") throw new Error(`the application was sent a request that is ${head.reason}`);
  const { section, framing, method, target } = head;
  return finish({ window, section, start: `${method} ${target}`, interim: [] }, new BodyCursor(framing, 1e9));
}

/** Reads one response; undefined while it is not whole. */
export function readResponse(text: string, isHead: boolean): { meaning: Meaning; end: number } | undefined {
  const window = Buffer.from(text, "latin1");
  const interim: number[] = [];
  for (let at = 0; ; ) {
    const head = scanResponseHead(window, at, window.length, { limits: defaultHttp1Limits, isHead });
    if (head.kind === "need-more") return undefined;
    if (head.kind === "refused") throw new Error(`the client was sent a response that is ${head.reason}`);
    const { section, framing, status } = head;
    at = section.end;
    if (status < 200) interim.push(status);
    else return finish({ window, section, start: String(status), interim }, new BodyCursor(framing, 1e9));
  }
}

function finish(
  head: { window: Buffer; section: HeaderSection; start: string; interim: readonly number[] },
  cursor: BodyCursor,
): { meaning: Meaning; end: number } | undefined {
  const { window, section, start, interim } = head;
  const end = cursor.advance(window, section.end, window.length);
  if (end < 0) throw new Error(`a body that is ${cursor.refusal}`);
  if (!cursor.isComplete) return undefined;
  const body = cursor.payloadOf(window.subarray(section.end, end), section.end).toString("latin1");
  const written: [string, string][] = [];
  for (let line = 0; line < section.lines; line += 1) {
    const name = window.toString("latin1", section.nameStart(line), section.nameEnd(line)).toLowerCase();
    if (notMeant.has(name)) continue;
    written.push([name, window.toString("latin1", section.valueStart(line), section.valueEnd(line))]);
  }
  return {
    end,
    meaning: {
      start,
      interim,
      fields: meaningOfFields(written),
      contentLength: section.contentLength,
      body,
      trailers: cursor.trailers.map(({ name, value }) => `${name}: ${value}`),
    },
  };
}

const notMeant = new Set([
  "host",
  "content-length",
  "transfer-encoding",
  "connection",
  "x-added",
  "x-added-outside",
]);

/** Cuts a text where it is told to. */
export function cut({ text, cuts: places }: Pick<WrittenMessage, "text" | "cuts">): string[] {
  const cutPieces: string[] = [];
  let from = 0;
  for (const place of places.toSorted((one, other) => one - other)) {
    cutPieces.push(text.slice(from, place));
    from = Math.max(from, Math.min(place, text.length));
  }
  return [...cutPieces, text.slice(from)].filter((piece) => piece !== "");
}
