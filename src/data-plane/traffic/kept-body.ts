import type { MessageEnd } from "../forwarding/index.ts";

/** Bytes of a request's body that are kept so that it can be sent again or to a mirror; a larger one is sent once. */
export const keptBodyBytesMax = 64 * 1024;

/** Pieces that are kept as they came before they are joined: a client may send single bytes. */
const piecesMax = 64;

/** What has come of a request's body, as long as it is small enough to be kept whole. */
export class KeptBody {
  /** The end, once it has come. */
  end: MessageEnd | undefined;
  /** Whether all that has come is here. */
  isWhole: boolean;
  #pieces: Buffer[];
  #bytes: number;

  constructor(first: Buffer, end: MessageEnd | undefined) {
    this.end = end;
    this.isWhole = true;
    this.#pieces = [first];
    this.#bytes = first.length;
    this.#bound();
  }

  /** Takes what follows. */
  add(body: Buffer, end: MessageEnd | undefined): void {
    this.end = end;
    if (!this.isWhole) return;
    this.#bytes += body.length;
    this.#pieces.push(body);
    if (this.#pieces.length >= piecesMax) this.#pieces = [this.joined()];
    this.#bound();
  }

  /** All of it, in one piece. */
  joined(): Buffer {
    const [first = nothing] = this.#pieces;
    return this.#pieces.length <= 1 ? first : Buffer.concat(this.#pieces, this.#bytes);
  }

  /** Keeps it no longer. */
  drop(): void {
    this.isWhole = false;
    this.#pieces = [];
  }

  #bound(): void {
    if (this.#bytes > keptBodyBytesMax) this.drop();
  }
}

const nothing = Buffer.alloc(0);
