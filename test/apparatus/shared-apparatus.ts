/** Something that takes long to set up and that several claims use, one after the other. */
export interface SharedApparatus {
  readonly close: () => Promise<void>;
}

/** Opens at first use; the next use after closing, or after a failure to open, opens anew. */
export class Shared<Apparatus extends AsyncDisposable> implements SharedApparatus {
  readonly #open: () => Promise<Apparatus>;
  #opened: Promise<Apparatus> | undefined;

  constructor(open: () => Promise<Apparatus>) {
    this.#open = open;
  }

  async get(): Promise<Apparatus> {
    this.#opened ??= this.#open();
    try {
      return await this.#opened;
    } catch (error) {
      this.#opened = undefined;
      throw error;
    }
  }

  async close(): Promise<void> {
    const opened = this.#opened;
    this.#opened = undefined;
    await (await opened)?.[Symbol.asyncDispose]();
  }
}
