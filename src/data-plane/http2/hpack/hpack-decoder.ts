import { fieldKind, HeaderField, isSensitiveName, isValue, kindOfName } from "./header-field.ts";
import { readHuffman } from "./huffman.ts";
import { staticTable } from "./static-table.ts";

/** What one header list may hold. */
export interface HeaderListLimits {
  readonly headerListBytesMax: number;
  readonly headerFieldsMax: number;
}

/** Why a header block was not decoded: the two tables differ from now on, so the connection must end. */
export type HpackRefusal =
  | "index-invalid"
  | "integer-too-large"
  | "string-too-long"
  | "huffman-invalid"
  | "table-size-update-misplaced"
  | "table-size-update-too-large"
  | "truncated";

/** Decodes the header blocks of one connection (RFC 7541); strings are latin1 and shared where fields repeat. */
export class HpackDecoder {
  refusal: HpackRefusal | undefined;
  /** Whether the last block held more than a list may: its fields are dropped, the table is as the peer's. */
  isOversize = false;
  private readonly limits: HeaderListLimits;
  /** Insertions in a ring whose length is a power of two. */
  private readonly ring: (HeaderField | undefined)[];
  private readonly ringMask: number;
  private insertions = 0;
  private entries = 0;
  private tableBytes = 0;
  private tableBytesMax: number;
  private readonly tableBytesLimit: number;
  private scratch: Buffer = Buffer.allocUnsafeSlow(1024);
  private window: Buffer = nothing;
  private at = 0;
  private end = 0;

  constructor(tableBytesMax: number, limits: HeaderListLimits) {
    this.limits = limits;
    this.tableBytesMax = tableBytesMax;
    this.tableBytesLimit = tableBytesMax;
    const slots = 2 ** Math.ceil(Math.log2(Math.max(1, tableBytesMax / 32) + 1));
    this.ring = Array.from({ length: slots }, () => undefined);
    this.ringMask = slots - 1;
  }

  /** Bytes of the dynamic table by the count of RFC 7541, 4.1. */
  get dynamicTableBytes(): number {
    return this.tableBytes;
  }

  /** Decodes one whole block; undefined once anything was refused. */
  decode(window: Buffer, start: number, end: number): HeaderField[] | undefined {
    this.window = window;
    this.at = start;
    this.end = end;
    this.isOversize = false;
    const fields: HeaderField[] = [];
    const { headerListBytesMax, headerFieldsMax } = this.limits;
    let listBytes = 0;
    let mayUpdateSize = true;
    while (this.at < end) {
      const first = window[this.at] ?? 0;
      if ((first & 0xe0) === 0x20) {
        if (!mayUpdateSize) this.refuse("table-size-update-misplaced");
        else this.updateSize();
        if (this.refusal !== undefined) return undefined;
        continue;
      }
      mayUpdateSize = false;
      const field = (first & 0x80) !== 0 ? this.indexed(first) : this.literal(first);
      if (field === undefined) return undefined;
      listBytes += field.bytes;
      // Checked as it grows: a block of one-byte references can stand for a list of any length.
      if (listBytes > headerListBytesMax || fields.length >= headerFieldsMax) this.isOversize = true;
      else if (!this.isOversize) fields.push(field);
    }
    this.window = nothing;
    return fields;
  }

  private indexed(first: number): HeaderField | undefined {
    const rest = first & 0x7f;
    const index = rest < 0x7f ? this.step(rest) : this.integer(0x7f);
    return this.refusal === undefined ? this.entry(index) : undefined;
  }

  private literal(first: number): HeaderField | undefined {
    const isIndexing = (first & 0x40) !== 0;
    const prefixMax = isIndexing ? 0x3f : 0x0f;
    const nameIndex =
      (first & prefixMax) < prefixMax ? this.step(first & prefixMax) : this.integer(prefixMax);
    if (this.refusal !== undefined) return undefined;
    const named = nameIndex === 0 ? undefined : this.entry(nameIndex);
    const name = nameIndex === 0 ? this.text() : named?.name;
    if (name === undefined) return undefined;
    const value = this.text();
    if (value === undefined) return undefined;
    // An entry whose value was invalid says nothing about its name.
    const isKnown = named !== undefined && named.kind !== fieldKind.invalid;
    const nameKind = isKnown ? named.kind : kindOfName(name);
    const isSensitive = (first & 0xf0) === 0x10 || (named?.isSensitive ?? isSensitiveName(name));
    const kind = this.isTextValue ? nameKind : fieldKind.invalid;
    const field = new HeaderField(name, value, kind, isSensitive);
    if (isIndexing) this.insert(field);
    return field;
  }

  /** Whether the text last read may be a value. */
  private isTextValue = true;

  private text(): string | undefined {
    if (this.at >= this.end) return this.refuse("truncated");
    const first = this.window[this.at] ?? 0;
    const rest = first & 0x7f;
    const length = rest < 0x7f ? this.step(rest) : this.integer(0x7f);
    if (this.refusal !== undefined) return undefined;
    const start = this.at;
    if (length > this.end - start) return this.refuse("string-too-long");
    this.at = start + length;
    if ((first & 0x80) === 0) {
      this.isTextValue = isValue(this.window, start, this.at);
      return this.window.toString("latin1", start, this.at);
    }
    return this.huffmanText(start, length);
  }

  private huffmanText(start: number, length: number): string | undefined {
    // The shortest code has five bits.
    const most = Math.ceil((length * 8) / 5);
    if (most > this.scratch.length) this.scratch = Buffer.allocUnsafeSlow(2 * most);
    const bytes = readHuffman(this.window, start, start + length, this.scratch);
    if (bytes < 0) return this.refuse("huffman-invalid");
    this.isTextValue = isValue(this.scratch, 0, bytes);
    return this.scratch.toString("latin1", 0, bytes);
  }

  private updateSize(): void {
    const first = (this.window[this.at] ?? 0) & 0x1f;
    const size = first < 0x1f ? this.step(first) : this.integer(0x1f);
    if (this.refusal !== undefined) return;
    if (size > this.tableBytesLimit) {
      this.refuse("table-size-update-too-large");
      return;
    }
    this.tableBytesMax = size;
    this.evict(size);
  }

  private step(value: number): number {
    this.at += 1;
    return value;
  }

  /** An integer whose prefix is all ones (RFC 7541, 5.1); what does not fit into 28 bits more is refused. */
  private integer(prefixMax: number): number {
    this.at += 1;
    let value = prefixMax;
    for (let shift = 0; shift < 28; shift += 7) {
      if (this.at >= this.end) break;
      const byte = this.window[this.at] ?? 0;
      this.at += 1;
      value += (byte & 0x7f) << shift;
      if ((byte & 0x80) === 0) return value;
    }
    this.refuse(this.at >= this.end ? "truncated" : "integer-too-large");
    return 0;
  }

  private entry(index: number): HeaderField | undefined {
    const entry =
      index <= staticTable.length
        ? staticTable[index - 1]
        : index - staticTable.length <= this.entries
          ? this.ring[(this.insertions - (index - staticTable.length)) & this.ringMask]
          : undefined;
    return entry ?? this.refuse("index-invalid");
  }

  private insert(field: HeaderField): void {
    this.evict(this.tableBytesMax - field.bytes);
    // What is larger than the table empties it and does not enter (RFC 7541, 4.4).
    if (field.bytes > this.tableBytesMax) return;
    this.ring[this.insertions & this.ringMask] = field;
    this.insertions += 1;
    this.entries += 1;
    this.tableBytes += field.bytes;
  }

  private evict(bytesMax: number): void {
    while (this.tableBytes > bytesMax && this.entries > 0) {
      const oldest = (this.insertions - this.entries) & this.ringMask;
      this.tableBytes -= this.ring[oldest]?.bytes ?? 0;
      this.ring[oldest] = undefined;
      this.entries -= 1;
    }
  }

  private refuse(reason: HpackRefusal): undefined {
    this.refusal = reason;
    return undefined;
  }
}

const nothing = Buffer.alloc(0);
