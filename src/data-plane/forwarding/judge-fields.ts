import {
  announcesForbiddenTrailer,
  type BodyFraming,
  chunkedFraming,
  type Http1Limits,
  judgeRequestParts,
  noBody,
  type RefusedHead,
  type RequestRefusal,
  refusedRequest,
} from "../http1/index.ts";
import { fieldKind, type HeaderField, type Http2RequestHead } from "../http2/index.ts";
import { mirroredName, mirroredValue } from "./mirrored-mark.ts";

/** A request head that came as fields of HTTP/2, in which everything was in order; only {@link judgeFields} makes one. */
export class FieldRequestHead {
  readonly kind = "head";
  readonly method: string;
  /** Normalised origin-form, or `*`: the bytes to decide on, and the bytes that are forwarded. */
  readonly target: string;
  /** In small letters, with the port if there was one. */
  readonly host: string;
  readonly minorVersion = 1;
  /** In chunks where the length of the body is not said, as it is forwarded over HTTP/1.1. */
  readonly framing: BodyFraming;
  readonly keepAlive = true;
  readonly expectsContinue: boolean;
  readonly wantsUpgrade = false;
  readonly wantsTrailers: boolean;
  /** Whether the proxy that sends it says that it is a copy. */
  readonly isMirrored: boolean;
  /** What goes on to the next server besides the pseudo-header fields, and the length unless chunks take its place. */
  readonly fields: readonly HeaderField[];
  private readonly all: readonly HeaderField[];

  private constructor(
    parts: { readonly method: string; readonly target: string; readonly host: string },
    section: FieldSection,
    all: readonly HeaderField[],
  ) {
    this.method = parts.method;
    this.target = parts.target;
    this.host = parts.host;
    this.framing = section.framing;
    this.expectsContinue = section.expectsContinue;
    this.wantsTrailers = section.wantsTrailers;
    this.isMirrored = section.isMirrored;
    this.fields = section.fields;
    this.all = all;
  }

  /** The values of all fields of a name (in small letters), in order; every field that came is in here. */
  valuesOf(name: string): string[] {
    const values: string[] = [];
    for (const field of this.all) if (field.name === name) values.push(field.value);
    return values;
  }

  /**
   * Holds a request of HTTP/2 to the rules of `scanRequestHead`: what is refused as a head of HTTP/1.1, in which its
   * fields are lines, is refused here, for the same reason.
   */
  static judge(
    head: Http2RequestHead,
    hasBody: boolean,
    limits: Http1Limits,
  ): FieldRequestHead | RefusedHead<RequestRefusal> {
    const { method, path, authority } = head;
    const section = new FieldSection();
    const refusal = section.read(head) ?? section.frame(head, hasBody) ?? section.measure(head, limits);
    if (refusal !== undefined) return refusedRequest(refusal);
    const parts = judgeRequestParts({ method, target: path, host: authority }, limits);
    return "kind" in parts ? parts : new FieldRequestHead(parts, section, head.fields);
  }
}

/** Judges a request of HTTP/2; see {@link FieldRequestHead.judge}. */
export function judgeFields(
  head: Http2RequestHead,
  hasBody: boolean,
  limits: Http1Limits,
): FieldRequestHead | RefusedHead<RequestRefusal> {
  return FieldRequestHead.judge(head, hasBody, limits);
}

/** ` HTTP/1.1` and the line ends of a request line, of `Host`, and of the whole. */
const frameCharacters = 22;
const chunkedLineCharacters = "Transfer-Encoding: chunked\r\n".length;

class FieldSection {
  readonly fields: HeaderField[] = [];
  framing: BodyFraming = noBody;
  expectsContinue = false;
  wantsTrailers = false;
  isMirrored = false;
  private announcesTrailers = false;
  private length: HeaderField | undefined;
  /** Of the head of HTTP/1.1 with the same lines, the first of which is `Host`. */
  private lines = 1;
  private characters = 0;

  read({ fields, pseudoFields }: Http2RequestHead): RequestRefusal | undefined {
    for (let place = pseudoFields; place < fields.length; place += 1) {
      const field = fields[place];
      const refusal = field === undefined ? undefined : this.take(field);
      if (refusal !== undefined) return refusal;
    }
    return undefined;
  }

  frame({ contentLength }: Http2RequestHead, hasBody: boolean): RequestRefusal | undefined {
    // Where HTTP/1.1 goes on from here, trailers take chunks, and so no length.
    if (hasBody && (contentLength === undefined || this.announcesTrailers)) this.framing = chunkedFraming;
    else if (contentLength !== undefined) {
      if (/^0[0-9]/.test(this.length?.value ?? "")) return "content-length-invalid";
      this.framing = { kind: "length", bytes: contentLength };
    }
    return undefined;
  }

  /** Whether there is too much of it, counted as a head of HTTP/1.1. */
  measure({ method, path, authority }: Http2RequestHead, limits: Http1Limits): RequestRefusal | undefined {
    let { lines, characters } = this;
    characters += method.length + path.length + authority.length + frameCharacters;
    if (this.framing.kind === "chunked") {
      characters += chunkedLineCharacters - (this.length?.line.length ?? 0);
      lines += this.length === undefined ? 1 : 0;
    }
    if (characters > limits.headBytesMax) return "head-too-large";
    return lines > limits.headersMax ? "too-many-headers" : undefined;
  }

  private take(field: HeaderField): RequestRefusal | undefined {
    if (field.kind === fieldKind.host) return undefined;
    this.lines += 1;
    this.characters += field.name.length + field.value.length + 4;
    switch (field.kind) {
      case fieldKind.te:
        this.wantsTrailers = true;
        return undefined;
      case fieldKind.contentLength:
        this.length = field;
        this.fields.push(field);
        return undefined;
      default:
        return this.takeRegular(field);
    }
  }

  private takeRegular(field: HeaderField): RequestRefusal | undefined {
    const { name } = field;
    if (name.includes("_")) return "header-name-underscore";
    if (name === "trailer") {
      if (announcesForbiddenTrailer(field.value)) return "trailer-announcement-forbidden";
      this.announcesTrailers = true;
    } else if (isForNeighbour(field)) {
      this.isMirrored ||= name === mirroredName && field.value === mirroredValue;
      return undefined;
    }
    if (name === "expect") {
      if (field.value.toLowerCase() !== "100-continue") return "expectation-unsupported";
      this.expectsContinue = true;
    }
    this.fields.push(field);
    return undefined;
  }
}

/** Whether a field is one that `HeaderSection` drops and that HTTP/2 itself does not forbid, or announces what may not come. */
export function isForNeighbour({ name, value, kind }: HeaderField): boolean {
  if (kind === fieldKind.te) return true;
  switch (name.charCodeAt(0)) {
    case 0x70: // p
      return name.startsWith("proxy-");
    case 0x74: // t
      return name.startsWith("troth-") || (name === "trailer" && announcesForbiddenTrailer(value));
    case 0x78: // x
      return name === "x-forwarded-client-cert";
    default:
      return false;
  }
}
