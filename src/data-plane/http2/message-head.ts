import { fieldKind, type HeaderField } from "./hpack/header-field.ts";
import type { Http2Violation } from "./http2-violation.ts";

/** The header section of a request, checked by the rules of RFC 9113, 8.3.1. */
export interface Http2RequestHead {
  /** All fields as received, pseudo-header fields first. */
  readonly fields: readonly HeaderField[];
  /** How many of them are pseudo-header fields. */
  readonly pseudoFields: number;
  readonly method: string;
  /** What extended CONNECT is to begin (RFC 8441, 4); undefined for every other request. */
  readonly protocol: string | undefined;
  /** Empty for plain CONNECT, as is the path (RFC 9113, 8.5). */
  readonly scheme: string;
  readonly path: string;
  /** From `:authority`, or else from `host`; empty where neither is there. */
  readonly authority: string;
  /** Undefined where the request does not say. */
  readonly contentLength: number | undefined;
}

/** The header section of a response, checked by the rules of RFC 9113, 8.3.2. */
export interface Http2ResponseHead {
  /** All fields as received, `:status` first. */
  readonly fields: readonly HeaderField[];
  readonly status: number;
  readonly contentLength: number | undefined;
}

/** Which forms of CONNECT a server takes. */
export interface ConnectForms {
  /** With nothing but `:authority`, to where the bytes shall go (RFC 9113, 8.5). */
  readonly plain: boolean;
  /** With `:protocol`, in place of an upgrade of HTTP/1.1 (RFC 8441); the client is told in SETTINGS. */
  readonly extended: boolean;
}

/** A server that takes no CONNECT at all. */
export const noConnect: ConnectForms = { plain: false, extended: false };

/** Reads the head of a request; the answer is a name of what is wrong with it, or the head. */
export function readRequestHead(
  fields: readonly HeaderField[],
  connect: ConnectForms = noConnect,
): Http2RequestHead | Http2Violation {
  const section = new Section();
  const violation = section.read(fields, true);
  if (violation !== undefined) return violation;
  const { method, protocol, scheme, path, authority, host } = section;
  const isConnect = method === "CONNECT";
  // To a server that has not said that it knows it, it is any unknown name.
  if (protocol !== undefined && !connect.extended) return "pseudo-header-unknown";
  if (protocol !== undefined && (!isConnect || !isMethod(protocol))) return "pseudo-header-invalid";
  const isPlain = isConnect && protocol === undefined;
  if (isPlain && !connect.plain) return "connect-unsupported";
  if (isConnect && section.contentLength !== undefined) return "content-length-invalid";
  if (isPlain) return plainConnect(section, fields);
  if (method === undefined || scheme === undefined || path === undefined) return "pseudo-header-missing";
  if (!isMethod(method) || !isScheme(scheme) || !isPath(path, method)) return "pseudo-header-invalid";
  if (authority === "" || (authority !== undefined && !isAuthority(authority)))
    return "pseudo-header-invalid";
  if (authority !== undefined && host !== undefined && authority.toLowerCase() !== host.toLowerCase())
    return "host-contradicts-authority";
  return {
    fields,
    pseudoFields: section.pseudoFields,
    method,
    protocol,
    scheme,
    path,
    authority: authority ?? host ?? "",
    contentLength: section.contentLength,
  };
}

/** Its authority names a host and a port, and is all that there is (RFC 9113, 8.5). */
function plainConnect(section: Section, fields: readonly HeaderField[]): Http2RequestHead | Http2Violation {
  const { pseudoFields, scheme, path, authority, host } = section;
  if (authority === undefined) return "pseudo-header-missing";
  if (scheme !== undefined || path !== undefined) return "pseudo-header-invalid";
  if (!isAuthority(authority) || !/:[0-9]{1,5}$/.test(authority)) return "pseudo-header-invalid";
  if (host !== undefined && host.toLowerCase() !== authority.toLowerCase())
    return "host-contradicts-authority";
  const none = { protocol: undefined, scheme: "", path: "", contentLength: undefined };
  return { fields, pseudoFields, method: "CONNECT", authority, ...none };
}

/** Reads the head of a response, final or interim. */
export function readResponseHead(fields: readonly HeaderField[]): Http2ResponseHead | Http2Violation {
  const section = new Section();
  const violation = section.read(fields, false);
  if (violation !== undefined) return violation;
  const { status } = section;
  if (status === undefined) return "pseudo-header-missing";
  // 101 does not exist here (RFC 9113, 8.6).
  if (!/^[1-5][0-9][0-9]$/.test(status) || status === "101") return "pseudo-header-invalid";
  return { fields, status: Number(status), contentLength: section.contentLength };
}

/** What is wrong with trailers, if anything; no pseudo-header field may be among them (RFC 9113, 8.1). */
export function checkTrailers(fields: readonly HeaderField[]): Http2Violation | undefined {
  for (const { kind } of fields) {
    if (kind === fieldKind.invalid) return "header-field-invalid";
    if (kind === fieldKind.connectionSpecific) return "header-field-forbidden";
    if (kind >= fieldKind.method && kind <= fieldKind.unknownPseudo) return "pseudo-header-misplaced";
  }
  return undefined;
}

class Section {
  method: string | undefined;
  scheme: string | undefined;
  path: string | undefined;
  authority: string | undefined;
  protocol: string | undefined;
  status: string | undefined;
  host: string | undefined;
  contentLength: number | undefined;
  pseudoFields = 0;

  read(fields: readonly HeaderField[], isRequest: boolean): Http2Violation | undefined {
    for (let place = 0; place < fields.length; place += 1) {
      const field = fields[place];
      if (field === undefined || field.kind === fieldKind.regular) continue;
      const violation =
        field.kind <= fieldKind.unknownPseudo
          ? this.readPseudo(field, place, isRequest)
          : this.readRegular(field, isRequest);
      if (violation !== undefined) return violation;
    }
    return undefined;
  }

  private readPseudo(field: HeaderField, place: number, isRequest: boolean): Http2Violation | undefined {
    if (field.kind === fieldKind.unknownPseudo || isRequest === (field.kind === fieldKind.status))
      return "pseudo-header-unknown";
    if (place !== this.pseudoFields) return "pseudo-header-misplaced";
    this.pseudoFields += 1;
    const { value } = field;
    switch (field.kind) {
      case fieldKind.method:
        if (this.method !== undefined) return "pseudo-header-repeated";
        this.method = value;
        return undefined;
      case fieldKind.scheme:
        if (this.scheme !== undefined) return "pseudo-header-repeated";
        this.scheme = value;
        return undefined;
      case fieldKind.path:
        if (this.path !== undefined) return "pseudo-header-repeated";
        this.path = value;
        return undefined;
      case fieldKind.authority:
        if (this.authority !== undefined) return "pseudo-header-repeated";
        this.authority = value;
        return undefined;
      case fieldKind.protocol:
        if (this.protocol !== undefined) return "pseudo-header-repeated";
        this.protocol = value;
        return undefined;
      default:
        if (this.status !== undefined) return "pseudo-header-repeated";
        this.status = value;
        return undefined;
    }
  }

  private readRegular(field: HeaderField, isRequest: boolean): Http2Violation | undefined {
    const { value } = field;
    switch (field.kind) {
      case fieldKind.connectionSpecific:
        return "header-field-forbidden";
      case fieldKind.te:
        return value === "trailers" ? undefined : "header-field-forbidden";
      case fieldKind.contentLength:
        if (this.contentLength !== undefined || !/^[0-9]{1,15}$/.test(value)) return "content-length-invalid";
        this.contentLength = Number(value);
        return undefined;
      case fieldKind.host:
        if (!isRequest) return undefined;
        if (this.host !== undefined || !isAuthority(value)) return "header-field-invalid";
        this.host = value;
        return undefined;
      default:
        return "header-field-invalid";
    }
  }
}

const methodPattern = /^[A-Za-z0-9!#$%&'*+.^_`|~-]+$/;
const pathPattern = /^\/[\x21-\x22\x24-\x7e]*$/;
const authorityPattern = /^[A-Za-z0-9._~!$&'()*+,;=:%[\]-]+$/;

function isMethod(method: string): boolean {
  return method === "GET" || method === "POST" || methodPattern.test(method);
}

function isScheme(scheme: string): boolean {
  return scheme === "https" || scheme === "http";
}

/** A path is in origin form, without a fragment and without spaces; `*` is for OPTIONS alone. */
function isPath(path: string, method: string): boolean {
  return path === "/" || pathPattern.test(path) || (path === "*" && method === "OPTIONS");
}

/** No user information may be in it (RFC 9113, 8.3.1), so no `@`. */
function isAuthority(authority: string): boolean {
  return authorityPattern.test(authority);
}
