import type { HeadEdits } from "../http1/index.ts";
import type { RequestHead, ResponseHead } from "./forwarding.ts";
import type { LinkSession } from "./instance-link.ts";
import type { ConnectionTokens } from "./request-tokens.ts";

/** Who sends a request with its token; one method is called for each time that it asks, perhaps before that returns. */
export interface TokenTaker {
  /** The token for a request on this connection; empty where the peer wants none. */
  onToken(lane: LinkSession, token: string): void;
  onNoToken(detail: string): void;
}

/** The request token of one request: waited for where there is none, and replaced, once, where it is refused. */
export class ShownToken {
  private readonly request: RequestHead;
  private readonly edits: HeadEdits;
  private readonly taker: TokenTaker;
  private awaiting: LinkSession | undefined;
  private wasReplaced = false;

  constructor(request: RequestHead, edits: HeadEdits, taker: TokenTaker) {
    this.request = request;
    this.edits = edits;
    this.taker = taker;
  }

  /** Has the taker given a token for a connection: at once, or later in a turn of that connection. */
  ask(lane: LinkSession, tokens: ConnectionTokens): void {
    const { request, edits, taker } = this;
    const token = tokens.mint(request, edits);
    if (token !== undefined) return taker.onToken(lane, token);
    this.awaiting = lane;
    void tokens.obtain(request, edits).then((obtained) => {
      const flush = (): void => {
        if (this.awaiting !== lane) return;
        this.awaiting = undefined;
        if (obtained.ok) taker.onToken(lane, obtained.value);
        else taker.onNoToken(obtained.detail);
      };
      lane.flushLater({ flush });
    });
  }

  /** Whether the taker waits. */
  get isAwaited(): boolean {
    return this.awaiting !== undefined;
  }

  /** Takes back the wait; none of the taker's methods is called any more. */
  cancel(): void {
    this.awaiting = undefined;
  }

  /**
   * Whether an answer refuses the token, and another may do better: nothing of the request was passed on, so that it
   * may be sent again whatever its method, but only once.
   */
  isToBeReplaced(tokens: ConnectionTokens, head: ResponseHead): boolean {
    if (!tokens.learn(head) || this.wasReplaced) return false;
    this.wasReplaced = true;
    return true;
  }
}
