import { isUtf8 } from "node:buffer";

/** The bytes of a request target that proxies let through (RFC 3986, and what browsers leave raw), but `?` and `%`. */
const targetCharacters = /^[A-Za-z0-9\-._~:/@!$&'()*+,;=[\]{}|^`%]*$/;
/** An empty segment, a dot segment, or one that some servers read as a dot segment. */
const secondSpelling = /\/\/|\/\.{1,2}(?=[/;]|$)/;
const unreserved = /[A-Za-z0-9._~-]/;

/**
 * Whether a path is in the one spelling in which proxies decide on requests (data-plane/http1/normalise-target.ts). A
 * rule about any other never matches, which is worse than no rule: its author believes in it.
 */
export function isNormalPath(path: string): boolean {
  if (!path.startsWith("/") || !targetCharacters.test(path) || secondSpelling.test(path)) return false;
  const octets: number[] = [];
  for (let at = 0; at < path.length; at += 1) {
    if (path[at] !== "%") {
      octets.push(path.charCodeAt(at));
      continue;
    }
    const hex = path.slice(at + 1, at + 3);
    const octet = Number.parseInt(hex, 16);
    if (!/^[0-9A-F]{2}$/.test(hex) || !mustBeEncoded(octet)) return false;
    octets.push(octet);
    at += 2;
  }
  return isUtf8(Uint8Array.from(octets));
}

/** Whether an octet may stand in a path, and only percent-encoded: no control, no slash of either kind. */
function mustBeEncoded(octet: number): boolean {
  if (octet < 0x20 || octet === 0x7f || octet === 0x2f || octet === 0x5c) return false;
  return !unreserved.test(String.fromCharCode(octet));
}
