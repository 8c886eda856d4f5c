/** Bytes on their way out, collected in one buffer that grows and is handed over whole. */
export class OutputBuffer {
  bytes: Buffer;
  length = 0;
  private readonly spare: Buffer[] = [];
  private readonly capacity: number;

  constructor(capacity: number) {
    this.capacity = capacity;
    this.bytes = nothing;
  }

  /** Makes room for `count` bytes after `length`. */
  reserve(count: number): void {
    if (this.length + count <= this.bytes.length) return;
    if (this.bytes.length === 0 && count <= this.capacity) {
      this.bytes = this.spare.pop() ?? Buffer.allocUnsafeSlow(this.capacity);
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
    if (buffer.length === this.capacity && this.spare.length < spareMax) this.spare.push(buffer);
  }
}

const spareMax = 2;
const nothing = Buffer.alloc(0);
