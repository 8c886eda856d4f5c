import { isForbiddenTrailer } from "./forbidden-trailers.ts";
import { endToEndLine, HeaderSection, needMore, refused, scanHeaderLines } from "./header-section.ts";

/** A field after the body of a message (RFC 9110, 6.5). */
export interface Trailer {
  /** In small letters. */
  readonly name: string;
  readonly value: string;
}

/** Why trailers were refused. */
export type TrailerRefusal = "trailer-malformed" | "trailer-forbidden" | "trailers-too-large";

/** Trailer lines with their line ends, in bytes. */
export const trailerBytesMax = 8 * 1024;

/** Trailer lines of one message. */
export const trailersMax = 64;

/** What is wrong with trailers, in whatever protocol they came: an application may read their names as CGI does. */
export function checkTrailers(trailers: readonly Trailer[]): TrailerRefusal | undefined {
  if (trailers.length > trailersMax) return "trailers-too-large";
  let bytes = 0;
  for (const { name, value } of trailers) {
    if (isForbiddenTrailer(name)) return "trailer-forbidden";
    if (name.includes("_")) return "trailer-malformed";
    bytes += name.length + value.length + 4;
  }
  return bytes > trailerBytesMax ? "trailers-too-large" : undefined;
}

/** What came of reading trailers: them, a refusal, or that more bytes are needed. */
export type ReadTrailers =
  | { readonly kind: "trailers"; readonly trailers: readonly Trailer[]; readonly end: number }
  | { readonly kind: "refused"; readonly reason: TrailerRefusal }
  | { readonly kind: "need-more" };

/** Reads the lines after the last chunk, to the empty line, by the rules of header lines (RFC 9112, 7.1.2). */
export function readTrailers(window: Buffer): ReadTrailers {
  const section = new HeaderSection(window, { linesMax: trailersMax, isUnderscoreAllowed: false });
  const limit = Math.min(window.length, trailerBytesMax);
  const end = scanHeaderLines(section, 0, limit);
  if (end === needMore) return window.length > limit ? tooLarge : { kind: "need-more" };
  if (end === refused) return section.refusal === "too-many-headers" ? tooLarge : refusedAs(section);
  const trailers: Trailer[] = [];
  for (let line = 0; line < section.lines; line += 1) {
    const name = window.toString("latin1", section.nameStart(line), section.nameEnd(line)).toLowerCase();
    if (section.kind(line) !== endToEndLine) return forbidden;
    trailers.push({
      name,
      value: window.toString("latin1", section.valueStart(line), section.valueEnd(line)),
    });
  }
  const reason = checkTrailers(trailers);
  return reason === undefined ? { kind: "trailers", trailers, end } : { kind: "refused", reason };
}

/** A line whose name is known to be forbidden can be refused for its value before its name is looked at. */
function refusedAs(section: HeaderSection): ReadTrailers {
  const line = section.lines - 1;
  return line >= 0 && section.kind(line) !== endToEndLine ? forbidden : malformed;
}

/**
 * A piece of a body in the chunked coding, and its end where its trailers are given. Nothing is nothing, since an empty
 * chunk would be the last (RFC 9112, 7.1).
 */
export function chunksOf(piece: Uint8Array, trailers: readonly Trailer[] | undefined): Buffer {
  const size = piece.length === 0 ? "" : `${piece.length.toString(16)}\r\n`;
  const after = piece.length === 0 ? endText(trailers) : `\r\n${endText(trailers)}`;
  const bytes = Buffer.allocUnsafe(size.length + piece.length + after.length);
  const at = bytes.write(size, 0, "latin1");
  bytes.set(piece, at);
  bytes.write(after, at + piece.length, "latin1");
  return bytes;
}

function endText(trailers: readonly Trailer[] | undefined): string {
  if (trailers === undefined) return "";
  let text = "0\r\n";
  for (const { name, value } of trailers) text += `${name}: ${value}\r\n`;
  return `${text}\r\n`;
}

const tooLarge: ReadTrailers = { kind: "refused", reason: "trailers-too-large" };
const malformed: ReadTrailers = { kind: "refused", reason: "trailer-malformed" };
const forbidden: ReadTrailers = { kind: "refused", reason: "trailer-forbidden" };
