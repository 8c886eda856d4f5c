import { fail, type Refusal } from "../base/result.ts";
import { generalNameTag, type NameSubtree, type ParsedCertificate } from "../crypto/index.ts";

/**
 * Whether every certificate of a path, leaf first, keeps to the name constraints of all CAs above it (RFC 5280
 * section 4.2.1.10). URIs are compared; a name of another kind is refused where a CA constrains that kind at all.
 */
export function nameConstraintRefusal(
  path: readonly ParsedCertificate[],
): Refusal<"name-constraint-violated"> | undefined {
  for (const [index, authority] of path.entries()) {
    for (const certificate of path.slice(0, index)) {
      const violation = violationOf(certificate, authority);
      if (violation === undefined) continue;
      return fail("name-constraint-violated", `${violation}, constrained by ${authority.subject.text}`);
    }
  }
  return undefined;
}

function violationOf(certificate: ParsedCertificate, authority: ParsedCertificate): string | undefined {
  const { nameConstraints } = authority;
  if (nameConstraints === undefined) return undefined;
  const { permitted, excluded } = nameConstraints;
  const permittedUris = permitted.filter(({ tag }) => tag === generalNameTag.uri);
  const excludedUris = excluded.filter(({ tag }) => tag === generalNameTag.uri);
  for (const uri of certificate.uriNames) {
    const host = hostOf(uri);
    if (permittedUris.length + excludedUris.length === 0) break;
    const isPermitted =
      host !== undefined &&
      (permittedUris.length === 0 || permittedUris.some((subtree) => isWithin(host, subtree))) &&
      !excludedUris.some((subtree) => isWithin(host, subtree));
    if (!isPermitted) return uri;
  }
  const constrained = new Set([...permitted, ...excluded].map(({ tag }) => tag));
  const hasSubject = certificate.subject.text !== "";
  if (hasSubject && constrained.has(generalNameTag.directory)) return certificate.subject.text;
  const tag = certificate.otherNameTags.find((tag) => constrained.has(tag));
  return tag === undefined ? undefined : `a name of kind ${tag & 0x1f}`;
}

/** The host of a URI; undefined where there is none, so that such a name meets no constraint. */
function hostOf(uri: string): string | undefined {
  return /^[A-Za-z][A-Za-z0-9+.-]*:\/\/([A-Za-z0-9._-]+)(?:\/|$)/.exec(uri)?.[1]?.toLowerCase();
}

/** A host is within a subtree with its very name, or below one that begins with a dot. */
function isWithin(host: string, subtree: NameSubtree): boolean {
  const name = Buffer.from(subtree.content).toString("latin1").toLowerCase();
  return name.startsWith(".") ? host.endsWith(name) && host !== name : host === name;
}
