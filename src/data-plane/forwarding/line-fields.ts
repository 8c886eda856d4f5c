import {
  checkEdits,
  contentLengthLine,
  type HeadEdits,
  type HeaderSection,
  hostLine,
  type Trailer,
  transferEncodingLine,
} from "../http1/index.ts";
import { fieldKind, type HeaderField, headerField } from "../http2/index.ts";
import type { RequestHead, ResponseHead } from "./forwarding.ts";
import { type FieldRequestHead, isForNeighbour } from "./judge-fields.ts";
import type { Answer } from "./problem-answer.ts";

const knownFieldsMax = 512;
const knownFieldCharactersMax = 512;

/**
 * Turns header lines of HTTP/1.1 into fields of HTTP/2 (RFC 9113, 8.2), one for each connection. A line seen lately
 * becomes the same object again, which the connection's encoder knows by reference.
 */
export class LineFields {
  private readonly known = new Map<string, HeaderField>();
  /** The lines added last, which are mostly the same for all requests. */
  private addedText = "";
  private added: HeaderField[] = [];

  /**
   * The head of a request, edited, without the lines that are for the next neighbour only. Where an HTTP/2 body ends
   * says its stream, so no coding is left. Throws as `checkEdits` does, and ERR_HTTP2_HEADER on added lines that are none.
   */
  request(head: RequestHead, edits: HeadEdits): HeaderField[] {
    checkEdits(edits);
    const fields = this.pseudoFields(head, edits);
    // What a client tells its proxy of a tunnel is not for the far end.
    if (head.tunnel === "connect") {
      this.addLines(fields, edits.add);
      return fields;
    }
    // The key belongs to the handshake of HTTP/1.1 (RFC 8441, 5.1).
    const remove = head.tunnel === "websocket" ? [...edits.remove, "sec-websocket-key"] : edits.remove;
    if ("section" in head) this.addScanned(fields, head.section, remove);
    else addReceived(fields, head, edits.remove);
    if (head.wantsTrailers) fields.push(teTrailers);
    this.addLines(fields, edits.add);
    return fields;
  }

  private pseudoFields(head: RequestHead, edits: HeadEdits): HeaderField[] {
    const authority = this.field(":authority", edits.host ?? head.host);
    if (head.tunnel === "connect") return [connectMethod, authority];
    const path = this.field(":path", edits.target ?? head.target);
    if (head.tunnel === "websocket") return [connectMethod, webSocketProtocol, httpScheme, authority, path];
    return [this.field(":method", head.method), httpScheme, authority, path];
  }

  /** The head of a response that opens a tunnel, without what a tunnel of HTTP/2 has no use for. */
  opening(head: ResponseHead): HeaderField[] {
    const [, ...fields] = this.response(head);
    return [okStatus, ...fields.filter(({ name }) => !namesOfOtherHandshakes.has(name))];
  }

  /** The head of a response, final or interim; the reason phrase has no place in HTTP/2. */
  response(head: ResponseHead): HeaderField[] {
    const { status } = head;
    const fields = [this.field(":status", String(status))];
    const hasNoLength = status < 200 || status === 204;
    if (!("section" in head)) {
      for (let place = 1; place < head.fields.length; place += 1) {
        const field = head.fields[place];
        if (field === undefined || isForNeighbour(field)) continue;
        if (!hasNoLength || field.kind !== fieldKind.contentLength) fields.push(field);
      }
      return fields;
    }
    const { section } = head;
    for (let line = 0; line < section.lines; line += 1) {
      const kind = section.kind(line);
      if (kind === transferEncodingLine || section.isForNeighbour(line)) continue;
      if (!hasNoLength || kind !== contentLengthLine) fields.push(this.ofLine(section, line));
    }
    return fields;
  }

  /** The head of an answer of the proxy's own. */
  answer(answer: Answer): HeaderField[] {
    const { status, headers, body } = answer;
    const fields = [this.field(":status", String(status))];
    if (status !== 204 && status !== 304) fields.push(this.field("content-length", String(body.length)));
    this.addLines(fields, headers);
    return fields;
  }

  /** Fields that end a message. */
  trailers(trailers: readonly Trailer[]): HeaderField[] {
    return trailers.map(({ name, value }) => this.field(name, value));
  }

  private addScanned(fields: HeaderField[], section: HeaderSection, remove: readonly string[]): void {
    for (let line = 0; line < section.lines; line += 1) {
      const kind = section.kind(line);
      if (kind === hostLine || kind === transferEncodingLine || section.isForNeighbour(line)) continue;
      if (remove.length === 0 || !section.isNamedIn(line, remove)) fields.push(this.ofLine(section, line));
    }
  }

  private ofLine(section: HeaderSection, line: number): HeaderField {
    const start = section.nameStart(line);
    const end = section.valueEnd(line);
    const text = section.window.toString("latin1", start, end);
    const known = this.known.get(text);
    if (known !== undefined) return known;
    const name = text.slice(0, section.nameEnd(line) - start).toLowerCase();
    return this.keep(text, headerField(name, text.slice(section.valueStart(line) - start)));
  }

  private field(name: string, value: string): HeaderField {
    const text = `${name}: ${value}`;
    return this.known.get(text) ?? this.keep(text, headerField(name, value));
  }

  /** Lines as `headerLines` makes them. */
  private addLines(fields: HeaderField[], lines: Uint8Array): void {
    if (lines.length === 0) return;
    const text = Buffer.from(lines.buffer, lines.byteOffset, lines.length).toString("latin1");
    if (text !== this.addedText) {
      this.addedText = text;
      this.added = [];
      for (const line of text.split("\r\n")) {
        const colon = line.indexOf(": ");
        if (colon > 0)
          this.added.push(this.field(line.slice(0, colon).toLowerCase(), line.slice(colon + 2).trim()));
      }
    }
    for (const field of this.added) fields.push(field);
    // Credentials are not kept beyond their request.
    if (this.added.some(({ isSensitive }) => isSensitive)) this.addedText = "";
  }

  /** Credentials are not kept beyond their request. */
  private keep(text: string, field: HeaderField): HeaderField {
    if (field.isSensitive) return field;
    if (this.known.size >= knownFieldsMax) this.known.clear();
    if (text.length <= knownFieldCharactersMax) this.known.set(text, field);
    return field;
  }
}

const httpScheme = headerField(":scheme", "http");
const connectMethod = headerField(":method", "CONNECT");
const webSocketProtocol = headerField(":protocol", "websocket");
const okStatus = headerField(":status", "200");
const namesOfOtherHandshakes: ReadonlySet<string> = new Set(["content-length", "sec-websocket-accept"]);
const teTrailers = headerField("te", "trailers");

/** Fields that came over HTTP/2 go on as the same objects, which the encoder knows again where the peer indexed them. */
function addReceived(fields: HeaderField[], head: FieldRequestHead, remove: readonly string[]): void {
  const hasLength = head.framing.kind === "length";
  for (const field of head.fields) {
    if (field.kind === fieldKind.contentLength && !hasLength) continue;
    if (remove.length === 0 || !remove.includes(field.name)) fields.push(field);
  }
}
