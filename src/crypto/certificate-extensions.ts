import { hexOf } from "../base/bytes.ts";
import {
  type DerElement,
  type DerReader,
  derTag,
  enterWhole,
  MalformedDer,
  readWhole,
} from "./der-reader.ts";
import { asciiOf, demandTrue, namedBitsOf, objectIdentifierOf, smallIntegerOf } from "./der-values.ts";
import { objectIdentifier } from "./object-identifiers.ts";

/** One extension as it stands in the certificate; `value` is the content of its OCTET STRING. */
export interface CertificateExtension {
  readonly oid: string;
  readonly critical: boolean;
  readonly value: Uint8Array;
}

/** The bits of keyUsage in their order (RFC 5280 section 4.2.1.3). */
export const keyUsages = [
  "digitalSignature",
  "nonRepudiation",
  "keyEncipherment",
  "dataEncipherment",
  "keyAgreement",
  "keyCertSign",
  "cRLSign",
  "encipherOnly",
  "decipherOnly",
] as const;

/** One bit of keyUsage. */
export type KeyUsage = (typeof keyUsages)[number];

/** The tags of GeneralName (RFC 5280 section 4.2.1.6) that are told apart here; the others stay numbers. */
export const generalNameTag = { dns: 0x82, directory: 0xa4, uri: 0x86, ip: 0x87 } as const;

/** A GeneralName that a CA permits or excludes below itself; `tag` as in {@link generalNameTag}. */
export interface NameSubtree {
  readonly tag: number;
  /** For a URI the host, or with a leading dot all hosts below it. */
  readonly content: Uint8Array;
}

/** What the extensions of RFC 5280 section 4.2 say, decoded; undefined where the extension is absent. */
export interface DecodedExtensions {
  readonly basicConstraints: { readonly isCa: boolean; readonly pathLength: number | undefined } | undefined;
  readonly keyUsage: ReadonlySet<KeyUsage> | undefined;
  /** Dotted object identifiers. */
  readonly extendedKeyUsage: readonly string[] | undefined;
  readonly uriNames: readonly string[];
  /** The tags of all subject alternative names that are not URIs, one for each name. */
  readonly otherNameTags: readonly number[];
  readonly nameConstraints:
    | { readonly permitted: readonly NameSubtree[]; readonly excluded: readonly NameSubtree[] }
    | undefined;
  /** Hexadecimal. */
  readonly subjectKeyId: string | undefined;
  /** Hexadecimal. */
  readonly authorityKeyId: string | undefined;
}

/** All extensions by dotted object identifier. */
export type ExtensionsByOid = ReadonlyMap<string, CertificateExtension>;

const extensionsMax = 32;
const namesMax = 64;

/** Reads a SEQUENCE OF Extension; no identifier twice (RFC 5280 section 4.2). Throws MalformedDer. */
export function readExtensions(list: DerReader): ExtensionsByOid {
  const extensions = new Map<string, CertificateExtension>();
  do {
    const reader = list.enter();
    const oid = objectIdentifierOf(reader.read(derTag.objectIdentifier));
    const flag = reader.readIf(derTag.boolean);
    if (flag !== undefined) demandTrue(flag);
    const value = reader.read(derTag.octetString).content;
    reader.end();
    if (extensions.has(oid)) throw new MalformedDer(`duplicate extension ${oid}`);
    if (extensions.size === extensionsMax) throw new MalformedDer(`more than ${extensionsMax} extensions`);
    extensions.set(oid, { oid, critical: flag !== undefined, value });
  } while (!list.isAtEnd);
  return extensions;
}

/** Decodes the extensions known here, each to its last byte. Throws MalformedDer. */
export function decodeExtensions(extensions: ExtensionsByOid): DecodedExtensions {
  function decoded<Value>(oid: string, decode: (value: Uint8Array) => Value): Value | undefined {
    const extension = extensions.get(oid);
    return extension === undefined ? undefined : decode(extension.value);
  }
  const names = decoded(objectIdentifier.subjectAlternativeName, generalNamesOf) ?? [];
  return {
    basicConstraints: decoded(objectIdentifier.basicConstraints, basicConstraintsOf),
    keyUsage: decoded(objectIdentifier.keyUsage, keyUsageOf),
    extendedKeyUsage: decoded(objectIdentifier.extendedKeyUsage, extendedKeyUsageOf),
    uriNames: names.filter(({ tag }) => tag === generalNameTag.uri).map(asciiOf),
    otherNameTags: names.map(({ tag }) => tag).filter((tag) => tag !== generalNameTag.uri),
    nameConstraints: decoded(objectIdentifier.nameConstraints, nameConstraintsOf),
    subjectKeyId: decoded(objectIdentifier.subjectKeyId, subjectKeyIdOf),
    authorityKeyId: decoded(objectIdentifier.authorityKeyId, authorityKeyIdOf),
  };
}

function basicConstraintsOf(value: Uint8Array): DecodedExtensions["basicConstraints"] {
  const reader = enterWhole(value);
  const isCa = reader.readIf(derTag.boolean);
  if (isCa !== undefined) demandTrue(isCa);
  const pathLength = reader.readIf(derTag.integer);
  reader.end();
  if (pathLength !== undefined && isCa === undefined) throw new MalformedDer("path length without cA");
  return {
    isCa: isCa !== undefined,
    pathLength: pathLength === undefined ? undefined : smallIntegerOf(pathLength),
  };
}

function keyUsageOf(value: Uint8Array): ReadonlySet<KeyUsage> {
  const bits = namedBitsOf(readWhole(value, derTag.bitString));
  return new Set(keyUsages.filter((_usage, bit) => bits.has(bit)));
}

function extendedKeyUsageOf(value: Uint8Array): readonly string[] {
  const reader = enterWhole(value);
  const usages: string[] = [];
  do {
    usages.push(objectIdentifierOf(reader.read(derTag.objectIdentifier)));
  } while (!reader.isAtEnd);
  return usages;
}

function generalNamesOf(value: Uint8Array): readonly DerElement[] {
  const reader = enterWhole(value);
  const names: DerElement[] = [];
  do {
    if (names.length === namesMax) throw new MalformedDer(`more than ${namesMax} alternative names`);
    names.push(generalName(reader.readAny()));
  } while (!reader.isAtEnd);
  return names;
}

function generalName(element: DerElement): DerElement {
  if ((element.tag & 0xc0) !== 0x80 || (element.tag & 0x1f) > 8)
    throw new MalformedDer("no such kind of name");
  return element;
}

function nameConstraintsOf(value: Uint8Array): DecodedExtensions["nameConstraints"] {
  const reader = enterWhole(value);
  const permitted = reader.readIf(0xa0);
  const excluded = reader.readIf(0xa1);
  reader.end();
  if (permitted === undefined && excluded === undefined) throw new MalformedDer("empty name constraints");
  return { permitted: subtreesOf(permitted), excluded: subtreesOf(excluded) };
}

function subtreesOf(list: DerElement | undefined): readonly NameSubtree[] {
  if (list === undefined) return [];
  const reader = enterWhole(list.der, list.tag);
  const subtrees: NameSubtree[] = [];
  do {
    const subtree = reader.enter();
    const { tag, content } = generalName(subtree.readAny());
    // minimum is 0 and maximum absent in every certificate (RFC 5280 section 4.2.1.10).
    subtree.end();
    if (subtrees.length === namesMax) throw new MalformedDer(`more than ${namesMax} subtrees`);
    subtrees.push({ tag, content });
  } while (!reader.isAtEnd);
  return subtrees;
}

function subjectKeyIdOf(value: Uint8Array): string {
  return hexOf(readWhole(value, derTag.octetString).content);
}

/** The key identifier of an authorityKeyIdentifier, hexadecimal. Throws MalformedDer. */
export function authorityKeyIdOf(value: Uint8Array): string | undefined {
  const reader = enterWhole(value);
  const keyId = reader.readIf(0x80);
  reader.readIf(0xa1);
  reader.readIf(0x82);
  reader.end();
  return keyId === undefined ? undefined : hexOf(keyId.content);
}
