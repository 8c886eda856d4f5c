/** The only source of time below `cli/`. */
export interface Clock {
  /** Wall-clock time in seconds since 1970, with a fraction. May jump either way. */
  readonly nowSeconds: () => number;
  /** Milliseconds since some fixed moment; never goes back. */
  readonly monotonicMillis: () => number;
}

/** Draws `length` bytes nobody can guess. */
export type RandomBytes = (length: number) => Uint8Array;
