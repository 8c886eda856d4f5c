/** Bytes on their way out, collected in one buffer that grows and is handed over whole. */
export class OutputBuffer {
  bytes: Buffer;
  length = 0;
  private readonly capacity: number;

  constructor(capacity: number) {
    this.capacity = capacity;
    this.bytes = nothing;
  }

  /** Makes room for `count` bytes after `length`. */
  reserve(count: number): void {
    if (this.length + count <= this.bytes.length) return;
    if (this.bytes.length === 0 && count <= this.capacity) {
      const used = spare.pop();
      this.bytes = used?.length === this.capacity ? used : Buffer.allocUnsafeSlow(this.capacity);
      return;
    }
    const larger = Buffer.allocUnsafeSlow(
      Math.max(this.capacity, 2 * this.bytes.length, this.length + count),
    );
    this.bytes.copy(larger, 0, 0, this.length);
    this.bytes = larger;
  }

  /** Hands everything over; {@link giveBack} takes the buffer again once its bytes are sent. */
  take(): Buffer {
    const taken = this.bytes.subarray(0, this.length);
    this.bytes = nothing;
    this.length = 0;
    return taken;
  }

  /** The buffer that {@link take} handed over may be overwritten. */
  giveBack(buffer: Buffer): void {
    if (buffer.length === this.capacity && spare.length < spareMax) spare.push(buffer);
  }
}

/** Buffers that any connection may use next, so that a connection at rest holds none. */
const spare: Buffer[] = [];
const spareMax = 16;
const nothing = Buffer.alloc(0);
