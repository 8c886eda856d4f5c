import { hexOf, textOf } from "../base/bytes.ts";
import { type DerElement, type DerReader, derTag, enterWhole, MalformedDer } from "./der-reader.ts";
import { objectIdentifierOf } from "./der-values.ts";
import { objectIdentifier } from "./object-identifiers.ts";

/** A Name of X.501: `der` to compare byte by byte, `text` for people (`O=Troth, CN=/shop/payments`). */
export interface DistinguishedName {
  readonly der: Uint8Array;
  readonly text: string;
}

const nameBytesMax = 1024;

const shortNames: ReadonlyMap<string, string> = new Map([
  [objectIdentifier.commonName, "CN"],
  [objectIdentifier.organization, "O"],
  ["2.5.4.5", "serialNumber"],
  ["2.5.4.6", "C"],
  ["2.5.4.7", "L"],
  ["2.5.4.8", "ST"],
  ["2.5.4.11", "OU"],
  ["2.5.4.45", "x500UniqueIdentifier"],
]);

/** Reads the next element as a Name; throws MalformedDer. */
export function readDistinguishedName(reader: DerReader): DistinguishedName {
  const { der } = reader.read(derTag.sequence);
  if (der.byteLength > nameBytesMax) throw new MalformedDer(`name of more than ${nameBytesMax} bytes`);
  const relativeNames = enterWhole(der);
  const texts: string[] = [];
  while (!relativeNames.isAtEnd) {
    const attributes = relativeNames.enter(derTag.set);
    do {
      const attribute = attributes.enter();
      const type = objectIdentifierOf(attribute.read(derTag.objectIdentifier));
      texts.push(`${shortNames.get(type) ?? type}=${attributeText(attribute.readAny())}`);
      attribute.end();
    } while (!attributes.isAtEnd);
  }
  return { der, text: texts.join(", ") };
}

function attributeText({ tag, content, der }: DerElement): string {
  const isText = tag === derTag.utf8String || tag === derTag.printableString || tag === derTag.ia5String;
  const text = isText ? textOf(content) : undefined;
  // Escaped, since it will stand in logs and tables: no separators, no control or look-alike characters.
  return text?.replace(/[^ -~]|[\\,+]/g, escaped) ?? `#${hexOf(der)}`;
}

function escaped(character: string): string {
  return `\\u${character.charCodeAt(0).toString(16).padStart(4, "0")}`;
}
