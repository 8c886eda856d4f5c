import type { OutputBuffer } from "../output-buffer.ts";
import type { HeaderField } from "./header-field.ts";
import { huffmanBytes, writeHuffman } from "./huffman.ts";
import { staticTable } from "./static-table.ts";

/** What an encoder remembers about one name. */
interface KnownName {
  /** Index in the static table, 0 where it is not there. */
  readonly staticIndex: number;
  /** Values in the static table, with their indices. */
  readonly staticValues: ReadonlyMap<string, number>;
}

/** Entries of this encoder's table of one name. */
interface HeldName {
  /** The insertion that has this name and is the youngest. */
  youngest: number;
  /** Entries of this name in the table. */
  entries: number;
  /** By value, the insertion that holds it. */
  readonly values: Map<string, number>;
}

const knownNames = new Map<string, KnownName>();
for (const [place, { name, value }] of staticTable.entries()) {
  const known = knownNames.get(name);
  const values = new Map(known?.staticValues ?? []);
  if (value !== "") values.set(value, place + 1);
  knownNames.set(name, { staticIndex: known?.staticIndex ?? place + 1, staticValues: values });
}

/** Names whose values repeat too seldom to enter the table at first sight; they do at the second in a row. */
const changingNames: ReadonlySet<string> = new Set([
  ":path",
  "age",
  "content-length",
  "etag",
  "if-modified-since",
  "if-none-match",
  "last-modified",
  "location",
  "referer",
  "traceparent",
  "tracestate",
  "x-request-id",
]);
/** A field that is larger by HPACK's count would push too much out of the table. */
const fieldBytesMax = 512;

/** Encodes the header lists of one connection (RFC 7541). */
export class HpackEncoder {
  private readonly tableBytesLimit: number;
  private tableBytesMax = 4096;
  private tableBytes = 0;
  /** Fields in the table, oldest first, from `first` on. */
  private entries: HeaderField[] = [];
  private first = 0;
  /** Insertions so far; the youngest entry is this one. */
  private insertions = 0;
  private readonly held = new Map<string, HeldName>();
  private readonly lastValues = new Map<string, string>();
  /** The smallest size since the last block, where the size changed (RFC 7541, 4.2). */
  private smallestPending: number | undefined;

  constructor(tableBytesLimit: number) {
    this.tableBytesLimit = tableBytesLimit;
    if (tableBytesLimit < this.tableBytesMax) this.resize(tableBytesLimit);
  }

  /** Bytes of the dynamic table by the count of RFC 7541, 4.1. */
  get dynamicTableBytes(): number {
    return this.tableBytes;
  }

  /** The peer's decoder holds a table of this many bytes. */
  allowTableBytes(bytes: number): void {
    const wanted = Math.min(bytes, this.tableBytesLimit);
    if (wanted !== this.tableBytesMax) this.resize(wanted);
  }

  /** Writes a header list as one block. */
  encode(fields: readonly HeaderField[], output: OutputBuffer): void {
    if (this.smallestPending !== undefined) this.writeSizes(this.smallestPending, output);
    for (let place = 0; place < fields.length; place += 1) {
      const field = fields[place];
      if (field === undefined) continue;
      if (field.holder === this && field.heldAs > this.insertions - this.count) {
        output.reserve(integerBytesMax);
        writeInteger(output, 0x80, 0x7f, this.indexOf(field.heldAs));
      } else this.search(field, output);
    }
  }

  private get count(): number {
    return this.entries.length - this.first;
  }

  private indexOf(insertion: number): number {
    return staticTable.length + 1 + this.insertions - insertion;
  }

  private search(field: HeaderField, output: OutputBuffer): void {
    const { name, value } = field;
    output.reserve(3 * integerBytesMax + name.length + value.length);
    const known = knownNames.get(name);
    const held = this.held.get(name);
    if (!field.isSensitive) {
      const index = known?.staticValues.get(value);
      if (index !== undefined) return writeInteger(output, 0x80, 0x7f, index);
      const insertion = held?.values.get(value);
      if (insertion !== undefined) {
        field.holder = this;
        field.heldAs = insertion;
        return writeInteger(output, 0x80, 0x7f, this.indexOf(insertion));
      }
    }
    const nameIndex = known?.staticIndex ?? (held === undefined ? 0 : this.indexOf(held.youngest));
    const isIndexing = this.isWorthIndexing(field);
    if (isIndexing) writeInteger(output, 0x40, 0x3f, nameIndex);
    else writeInteger(output, field.isSensitive ? 0x10 : 0, 0x0f, nameIndex);
    // What is sent once is not worth the time that Huffman coding takes.
    if (nameIndex === 0) writeText(output, name, isIndexing);
    writeText(output, value, isIndexing);
    if (isIndexing) this.insert(field);
  }

  private isWorthIndexing(field: HeaderField): boolean {
    if (field.isSensitive || field.bytes > fieldBytesMax || field.bytes > this.tableBytesMax / 2)
      return false;
    if (!changingNames.has(field.name)) return true;
    const isRepeated = this.lastValues.get(field.name) === field.value;
    this.lastValues.set(field.name, field.value);
    return isRepeated;
  }

  private insert(field: HeaderField): void {
    this.evict(this.tableBytesMax - field.bytes);
    this.entries.push(field);
    this.insertions += 1;
    this.tableBytes += field.bytes;
    field.holder = this;
    field.heldAs = this.insertions;
    const held = this.held.get(field.name);
    if (held === undefined) {
      const values = new Map([[field.value, this.insertions]]);
      this.held.set(field.name, { youngest: this.insertions, entries: 1, values });
      return;
    }
    held.youngest = this.insertions;
    held.entries += 1;
    held.values.set(field.value, this.insertions);
  }

  private evict(bytesMax: number): void {
    while (this.tableBytes > bytesMax && this.count > 0) {
      const insertion = this.insertions - this.count + 1;
      const field = this.entries[this.first];
      this.first += 1;
      if (field === undefined) continue;
      this.tableBytes -= field.bytes;
      const held = this.held.get(field.name);
      if (held === undefined) continue;
      held.entries -= 1;
      if (held.values.get(field.value) === insertion) held.values.delete(field.value);
      if (held.entries === 0) this.held.delete(field.name);
    }
    if (this.first > entriesKept) {
      this.entries = this.entries.slice(this.first);
      this.first = 0;
    }
  }

  private resize(bytes: number): void {
    this.tableBytesMax = bytes;
    this.evict(bytes);
    this.smallestPending = Math.min(this.smallestPending ?? bytes, bytes);
  }

  private writeSizes(smallest: number, output: OutputBuffer): void {
    output.reserve(2 * integerBytesMax);
    if (smallest < this.tableBytesMax) writeInteger(output, 0x20, 0x1f, smallest);
    writeInteger(output, 0x20, 0x1f, this.tableBytesMax);
    this.smallestPending = undefined;
  }
}

/** Evicted entries are cut off once there are as many. */
const entriesKept = 256;
/** An integer of 32 bits takes no more after any prefix. */
const integerBytesMax = 6;

/** Writes an integer after a prefix (RFC 7541, 5.1) into room that is there. */
function writeInteger(output: OutputBuffer, pattern: number, prefixMax: number, value: number): void {
  const { bytes } = output;
  if (value < prefixMax) {
    bytes[output.length] = pattern | value;
    output.length += 1;
    return;
  }
  bytes[output.length] = pattern | prefixMax;
  let at = output.length + 1;
  let rest = value - prefixMax;
  while (rest >= 0x80) {
    bytes[at] = (rest & 0x7f) | 0x80;
    at += 1;
    rest >>>= 7;
  }
  bytes[at] = rest;
  output.length = at + 1;
}

function writeText(output: OutputBuffer, text: string, mayCompress: boolean): void {
  const compressedBytes = mayCompress ? huffmanBytes(text) : text.length;
  if (compressedBytes < text.length) {
    writeInteger(output, 0x80, 0x7f, compressedBytes);
    output.length = writeHuffman(text, output.bytes, output.length);
    return;
  }
  writeInteger(output, 0, 0x7f, text.length);
  output.length += output.bytes.write(text, output.length, "latin1");
}
