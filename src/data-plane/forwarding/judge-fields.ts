import type { RandomBytes } from "../../base/clock.ts";
import {
  announcesForbiddenTrailer,
  type BodyFraming,
  chunkedFraming,
  type Http1Limits,
  judgeAuthority,
  judgeRequestParts,
  noBody,
  type RefusedHead,
  type RequestRefusal,
  refusedRequest,
  type Tunnel,
} from "../http1/index.ts";
import { fieldKind, type HeaderField, type Http2RequestHead, headerField } from "../http2/index.ts";

/** A request head that came as fields of HTTP/2, in which everything was in order; only {@link judgeFields} makes one. */
export class FieldRequestHead {
  readonly kind = "head";
  /** GET for a WebSocket, as where it is asked for in HTTP/1.1. */
  readonly method: string;
  /** Normalised origin-form, or `*`, or the authority of a CONNECT: the bytes to decide on, and that are forwarded. */
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
  readonly tunnel: Tunnel | undefined;
  /** What a server of HTTP/1.1 is asked to answer a WebSocket with (RFC 6455, 4.1); empty in every other request. */
  readonly webSocketKey: string;
  /** What goes on to the next server besides the pseudo-header fields, and the length unless chunks take its place. */
  readonly fields: readonly HeaderField[];
  private readonly all: readonly HeaderField[];

  private constructor(
    parts: {
      readonly method: string;
      readonly target: string;
      readonly host: string;
      readonly webSocketKey?: string;
    },
    section: FieldSection,
    all: readonly HeaderField[],
  ) {
    this.method = parts.method;
    this.target = parts.target;
    this.host = parts.host;
    this.framing = section.framing;
    this.expectsContinue = section.expectsContinue;
    this.wantsTrailers = section.wantsTrailers;
    this.tunnel = section.tunnel;
    this.webSocketKey = parts.webSocketKey ?? "";
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
   * fields are lines, is refused here, for the same reason. A WebSocket gets a key that is `randomBytes`.
   */
  static judge(
    head: Http2RequestHead,
    hasBody: boolean,
    limits: Http1Limits,
    randomBytes?: RandomBytes,
  ): FieldRequestHead | RefusedHead<RequestRefusal> {
    const { path, authority } = head;
    const section = new FieldSection(tunnelOf(head));
    const refusal =
      section.read(head) ??
      section.judgeTunnel(head) ??
      section.frame(head, hasBody) ??
      section.measure(head, limits);
    if (refusal !== undefined) return refusedRequest(refusal);
    if (section.tunnel === "connect") {
      const host = judgeAuthority(authority);
      if (typeof host !== "string") return host;
      return new FieldRequestHead({ method: "CONNECT", target: host, host }, section, head.fields);
    }
    const isWebSocket = section.tunnel === "websocket";
    const method = isWebSocket ? "GET" : head.method;
    const parts = judgeRequestParts({ method, target: path, host: authority }, limits);
    if ("kind" in parts) return parts;
    if (!isWebSocket) return new FieldRequestHead(parts, section, head.fields);
    const key = randomBytes?.(webSocketKeyBytes) ?? new Uint8Array(webSocketKeyBytes);
    const webSocketKey = Buffer.from(key).toString("base64");
    return new FieldRequestHead({ ...parts, webSocketKey }, section, head.fields);
  }
}

const webSocketKeyBytes = 16;

/** Judges a request of HTTP/2; see {@link FieldRequestHead.judge}. */
export function judgeFields(
  head: Http2RequestHead,
  hasBody: boolean,
  limits: Http1Limits,
  randomBytes?: RandomBytes,
): FieldRequestHead | RefusedHead<RequestRefusal> {
  return FieldRequestHead.judge(head, hasBody, limits, randomBytes);
}

/** A request of our own for a tunnel to `authority`, which must be a host and a port. */
export function connectRequest(
  authority: string,
  limits: Http1Limits,
): FieldRequestHead | RefusedHead<RequestRefusal> {
  const fields = [headerField(":method", "CONNECT"), headerField(":authority", authority)];
  const none = { protocol: undefined, scheme: "", path: "", contentLength: undefined };
  return judgeFields({ fields, pseudoFields: 2, method: "CONNECT", authority, ...none }, true, limits);
}

function tunnelOf({ method, protocol }: Http2RequestHead): Tunnel | undefined {
  if (method !== "CONNECT") return undefined;
  return protocol === undefined ? "connect" : "websocket";
}

/** ` HTTP/1.1` and the line ends of a request line, of `Host`, and of the whole. */
const frameCharacters = 22;
const chunkedLineCharacters = "Transfer-Encoding: chunked\r\n".length;

class FieldSection {
  readonly tunnel: Tunnel | undefined;
  readonly fields: HeaderField[] = [];
  framing: BodyFraming = noBody;
  expectsContinue = false;
  wantsTrailers = false;
  private announcesTrailers = false;
  private length: HeaderField | undefined;
  /** Of the head of HTTP/1.1 with the same lines, the first of which is `Host`. */
  private lines = 1;
  private characters = 0;

  constructor(tunnel: Tunnel | undefined) {
    this.tunnel = tunnel;
  }

  read({ fields, pseudoFields }: Http2RequestHead): RequestRefusal | undefined {
    for (let place = pseudoFields; place < fields.length; place += 1) {
      const field = fields[place];
      const refusal = field === undefined ? undefined : this.take(field);
      if (refusal !== undefined) return refusal;
    }
    return undefined;
  }

  /** Nothing but a WebSocket of one version can be asked for; what waits for leave to send has no place in a tunnel. */
  judgeTunnel({ protocol }: Http2RequestHead): RequestRefusal | undefined {
    if (this.tunnel === undefined) return undefined;
    if (this.expectsContinue) return "expectation-unsupported";
    this.wantsTrailers = false;
    if (protocol === undefined) return undefined;
    const [version, other] = this.fields.filter(({ name }) => name === "sec-websocket-version");
    const hasVersion = version !== undefined && other === undefined && /^[0-9]{1,3}$/.test(version.value);
    return protocol.toLowerCase() === "websocket" && hasVersion ? undefined : "upgrade-unsupported";
  }

  frame({ contentLength }: Http2RequestHead, hasBody: boolean): RequestRefusal | undefined {
    if (this.tunnel !== undefined) return undefined;
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
    } else if (isForNeighbour(field)) return undefined;
    // Theirs is the handshake of HTTP/1.1 (RFC 8441, 5.1), which is ours to have with the next server.
    if (this.tunnel === "websocket" && (name === "sec-websocket-key" || name === "sec-websocket-accept"))
      return undefined;
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
