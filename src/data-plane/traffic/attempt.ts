import type {
  ForwardingClient,
  ForwardingFailure,
  ForwardingProgress,
  MessageEnd,
  ResponseHead,
} from "../forwarding/index.ts";

/** Who hears of an attempt. */
export interface AttemptOwner {
  /** Whether the owner has not given the attempt up. */
  isCurrent(attempt: Attempt): boolean;
  readonly client: ForwardingClient;
  /** An interim response; false where it is not to be passed on. */
  takesInterim(head: ResponseHead): boolean;
  /** The head of the response; false where the attempt is given up over it. */
  takesHead(head: ResponseHead): boolean;
  onAttemptResponded(): void;
  onAttemptFailed(failure: ForwardingFailure, detail: string, progress: ForwardingProgress): void;
}

/** The client of one attempt at a request: what comes of an attempt that was given up reaches nobody. */
export class Attempt implements ForwardingClient {
  readonly #owner: AttemptOwner;

  constructor(owner: AttemptOwner) {
    this.#owner = owner;
  }

  onBodyWanted(): void {
    if (this.#isCurrent) this.#owner.client.onBodyWanted();
  }

  pauseBody(): void {
    if (this.#isCurrent) this.#owner.client.pauseBody();
  }

  waitAtMost(millis: number): void {
    if (this.#isCurrent) this.#owner.client.waitAtMost(millis);
  }

  writeInterim(head: ResponseHead): void {
    if (this.#isCurrent && this.#owner.takesInterim(head)) this.#owner.client.writeInterim(head);
  }

  writeHead(head: ResponseHead, body: Buffer, end: MessageEnd | undefined): boolean {
    if (!this.#isCurrent || !this.#owner.takesHead(head)) return true;
    return this.#owner.client.writeHead(head, body, end);
  }

  write(body: Buffer, end: MessageEnd | undefined): boolean {
    return this.#isCurrent ? this.#owner.client.write(body, end) : true;
  }

  onResponded(): void {
    if (this.#isCurrent) this.#owner.onAttemptResponded();
  }

  onFailed(failure: ForwardingFailure, detail: string, progress: ForwardingProgress): void {
    if (this.#isCurrent) this.#owner.onAttemptFailed(failure, detail, progress);
  }

  get #isCurrent(): boolean {
    return this.#owner.isCurrent(this);
  }
}
