/** The streams that ended last, as far back as a number of them; what is older is forgotten. */
export class ClosedStreams {
  private readonly ids: Uint32Array;
  private next = 0;

  constructor(streamsMax: number) {
    this.ids = new Uint32Array(streamsMax);
  }

  add(streamId: number): void {
    this.ids[this.next] = streamId;
    this.next = (this.next + 1) % this.ids.length;
  }

  has(streamId: number): boolean {
    return this.ids.includes(streamId);
  }
}
