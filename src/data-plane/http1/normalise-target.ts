import { isUtf8 } from "node:buffer";
import { fail, ok, type Result } from "../../base/result.ts";

/** Why a path or query was refused. */
export type TargetRefusal =
  | "target-percent-malformed"
  | "target-encoded-control"
  | "target-encoded-slash"
  | "target-not-utf8"
  | "target-above-root"
  | "target-dot-parameter";

/**
 * The one spelling of an origin-form target (RFC 3986, 6.2.2) made of target bytes: unreserved characters are not
 * percent-encoded, other triplets are upper-case, no dot segments, no empty segments. Policy decides on exactly these
 * bytes and exactly these are forwarded, so no upstream can find another path in them.
 */
export function normaliseTarget(target: string): Result<string, TargetRefusal> {
  if (!unusual.test(target)) return ok(target);
  const queryStart = target.indexOf("?");
  const path = normalisePath(queryStart < 0 ? target : target.slice(0, queryStart));
  if (!path.ok || queryStart < 0) return path;
  const query = normaliseTriplets(target.slice(queryStart), isForbiddenInQuery);
  return query.ok ? ok(path.value + query.value) : query;
}

/** Anything that could have a second spelling: a percent sign, an empty segment, a segment that begins with a dot. */
const unusual = /%|\/[/.]/;

type OctetCheck = (octet: number) => TargetRefusal | undefined;

function normalisePath(path: string): Result<string, TargetRefusal> {
  const spelled = normaliseTriplets(path, isForbiddenInPath);
  if (!spelled.ok) return spelled;
  if (hasUpperOctets.test(spelled.value) && !isUtf8(octetsOf(spelled.value))) return fail("target-not-utf8");
  return removeDotSegments(spelled.value);
}

const hasUpperOctets = /%[89A-F]/;

function octetsOf(path: string): Buffer {
  const octets = path.replace(/%(..)/g, (_, hex: string) => String.fromCharCode(Number.parseInt(hex, 16)));
  return Buffer.from(octets, "latin1");
}

function isForbiddenInPath(octet: number): TargetRefusal | undefined {
  if (octet < 0x20 || octet === 0x7f) return "target-encoded-control";
  return octet === 0x2f || octet === 0x5c ? "target-encoded-slash" : undefined;
}

/** Forms carry line ends in queries; NUL alone has no honest use. */
function isForbiddenInQuery(octet: number): TargetRefusal | undefined {
  return octet === 0 ? "target-encoded-control" : undefined;
}

const unreserved = /[A-Za-z0-9._~-]/;
const hexPair = /^[0-9A-Fa-f]{2}$/;

function normaliseTriplets(text: string, isForbidden: OctetCheck): Result<string, TargetRefusal> {
  let spelled = "";
  let from = 0;
  for (let percent = text.indexOf("%"); percent >= 0; percent = text.indexOf("%", from)) {
    const hex = text.slice(percent + 1, percent + 3);
    if (!hexPair.test(hex)) return fail("target-percent-malformed");
    const octet = Number.parseInt(hex, 16);
    const refusal = isForbidden(octet);
    if (refusal !== undefined) return fail(refusal);
    const character = String.fromCharCode(octet);
    spelled += text.slice(from, percent) + (unreserved.test(character) ? character : `%${hex.toUpperCase()}`);
    from = percent + 3;
  }
  return ok(spelled + text.slice(from));
}

function removeDotSegments(path: string): Result<string, TargetRefusal> {
  const segments = path.split("/");
  const kept: string[] = [];
  for (const segment of segments) {
    // Servers that strip path parameters first would read "..;x" as "..".
    if (dotParameter.test(segment)) return fail("target-dot-parameter");
    if (segment === "..") {
      if (kept.pop() === undefined) return fail("target-above-root");
    } else if (segment !== "." && segment !== "") kept.push(segment);
  }
  const last = segments.at(-1);
  const isFolder = last === "" || last === "." || last === "..";
  return ok(`/${kept.join("/")}${isFolder && kept.length > 0 ? "/" : ""}`);
}

const dotParameter = /^\.{1,2};/;
