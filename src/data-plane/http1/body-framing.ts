import { ChunkedBody, type ChunkRefusal } from "./chunked-body.ts";
import type { Trailer } from "./trailers.ts";

/** How the end of a message body is found (RFC 9112, 6.3). */
export type BodyFraming =
  | { readonly kind: "none" }
  | { readonly kind: "length"; readonly bytes: number }
  | { readonly kind: "chunked" }
  | { readonly kind: "until-close" };

/** Why the bytes of a body were refused. */
export type BodyRefusal = ChunkRefusal | "body-too-large";

/** Follows one body through the windows it arrives in. */
export class BodyCursor {
  readonly framing: BodyFraming;
  isComplete: boolean;
  refusal: BodyRefusal | undefined;
  private readonly chunks: ChunkedBody | undefined;
  private readonly bytesMax: number;
  private readBytes = 0;

  constructor(framing: BodyFraming, bytesMax: number) {
    this.framing = framing;
    this.bytesMax = bytesMax;
    this.isComplete = framing.kind === "none" || (framing.kind === "length" && framing.bytes === 0);
    this.chunks = framing.kind === "chunked" ? new ChunkedBody() : undefined;
  }

  /** Bytes of the body so far, without its framing. */
  get payloadBytes(): number {
    return this.chunks?.payloadBytes ?? this.readBytes;
  }

  /** The fields after a body that is complete. */
  get trailers(): readonly Trailer[] {
    return this.chunks?.trailers ?? [];
  }

  /** Takes what belongs to the body from `window[at, end)`; answers with its end, or -1 when it was refused. */
  advance(window: Uint8Array, at: number, end: number): number {
    if (this.isComplete) return at;
    const { chunks } = this;
    const bodyEnd = chunks === undefined ? this.advancePlain(at, end) : chunks.advance(window, at, end);
    if (chunks?.refusal !== undefined) return this.refuse(chunks.refusal);
    if (chunks !== undefined) this.isComplete = chunks.isComplete;
    if (this.payloadBytes > this.bytesMax) return this.refuse("body-too-large");
    return bodyEnd;
  }

  /** The data in the piece that was taken last and began at `at`, without its framing. */
  payloadOf(piece: Buffer, at: number): Buffer {
    if (this.chunks === undefined || piece.length === 0) return piece;
    const { spans } = this.chunks;
    const data: Buffer[] = [];
    for (let index = 0; index < spans.length; index += 2)
      data.push(piece.subarray((spans[index] ?? 0) - at, (spans[index + 1] ?? 0) - at));
    const [only] = data;
    return data.length === 1 && only !== undefined ? only : Buffer.concat(data);
  }

  private advancePlain(at: number, end: number): number {
    const left = this.framing.kind === "length" ? this.framing.bytes - this.readBytes : end - at;
    const taken = Math.min(left, end - at);
    this.readBytes += taken;
    this.isComplete = this.framing.kind === "length" && taken === left;
    return at + taken;
  }

  /** Where a refused body would have ended is nobody's to say, so nothing may be read behind it. */
  private refuse(reason: BodyRefusal): number {
    this.refusal = reason;
    this.isComplete = false;
    return -1;
  }
}
