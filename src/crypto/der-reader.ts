/** One DER element: `content` is the value alone, `der` is the whole with tag and length. */
export interface DerElement {
  readonly tag: number;
  readonly content: Uint8Array;
  readonly der: Uint8Array;
}

/**
 * What the readers of this folder throw at bytes that are not the DER they look for. It never leaves the folder:
 * every public parse function turns it into a refusal.
 */
export class MalformedDer extends Error {}

/** The universal tags read here (ITU-T X.690 section 8), as they stand in the first byte of an element. */
export const derTag = {
  boolean: 0x01,
  integer: 0x02,
  bitString: 0x03,
  octetString: 0x04,
  objectIdentifier: 0x06,
  enumerated: 0x0a,
  utf8String: 0x0c,
  printableString: 0x13,
  ia5String: 0x16,
  utcTime: 0x17,
  generalizedTime: 0x18,
  sequence: 0x30,
  set: 0x31,
} as const;

/**
 * Reads DER elements one after the other (X.690 section 10: definite lengths in their shortest form). It is our own
 * because the ASN.1 library reads BER: two spellings of one certificate must not both be accepted.
 */
export class DerReader {
  readonly #bytes: Uint8Array;
  #offset = 0;

  constructor(bytes: Uint8Array) {
    this.#bytes = bytes;
  }

  /** Whether every byte has been read. */
  get isAtEnd(): boolean {
    return this.#offset === this.#bytes.byteLength;
  }

  /** The tag of the next element, undefined at the end. */
  get nextTag(): number | undefined {
    return this.#bytes[this.#offset];
  }

  /** The next element, whatever its tag. */
  readAny(): DerElement {
    const start = this.#offset;
    const tag = this.#byte();
    // A tag number above 30 continues in further bytes; no structure read here has one.
    if ((tag & 0x1f) === 0x1f) throw new MalformedDer("tag number above 30");
    const length = this.#length();
    const contentStart = this.#offset;
    const end = contentStart + length;
    if (end > this.#bytes.byteLength) throw new MalformedDer("element longer than the bytes that hold it");
    this.#offset = end;
    return {
      tag,
      content: this.#bytes.subarray(contentStart, end),
      der: this.#bytes.subarray(start, end),
    };
  }

  /** The next element, which must have this tag. */
  read(tag: number): DerElement {
    if (this.nextTag !== tag) throw new MalformedDer(`expected tag ${hexByte(tag)}, found ${this.#found()}`);
    return this.readAny();
  }

  /** The next element if it has this tag. */
  readIf(tag: number): DerElement | undefined {
    return this.nextTag === tag ? this.readAny() : undefined;
  }

  /** A reader of what is inside the next element, which must have this tag. */
  enter(tag: number = derTag.sequence): DerReader {
    return new DerReader(this.read(tag).content);
  }

  /** Demands that nothing is left. */
  end(): void {
    if (!this.isAtEnd) throw new MalformedDer("bytes after the last element");
  }

  #length(): number {
    const first = this.#byte();
    if (first < 0x80) return first;
    const count = first & 0x7f;
    let length = 0;
    for (let index = 0; index < count; index += 1) length = length * 256 + this.#byte();
    // A count of 0, the indefinite length, gives 0 and falls here too.
    if (length < 0x80 || length < 256 ** (count - 1))
      throw new MalformedDer("length not in its shortest form");
    return length;
  }

  #byte(): number {
    const byte = this.#bytes[this.#offset];
    if (byte === undefined) throw new MalformedDer("ends inside an element");
    this.#offset += 1;
    return byte;
  }

  #found(): string {
    return this.nextTag === undefined ? "the end" : hexByte(this.nextTag);
  }
}

/** Reads bytes that must be exactly one element with this tag. */
export function readWhole(bytes: Uint8Array, tag: number): DerElement {
  const reader = new DerReader(bytes);
  const element = reader.read(tag);
  reader.end();
  return element;
}

/** A reader of what is inside bytes that must be exactly one element with this tag. */
export function enterWhole(bytes: Uint8Array, tag: number = derTag.sequence): DerReader {
  return new DerReader(readWhole(bytes, tag).content);
}

function hexByte(byte: number): string {
  return `0x${byte.toString(16).padStart(2, "0")}`;
}
