import { type Client, Code, ConnectError } from "@connectrpc/connect";
import type { AskRequestTokenIssuerRequest, AskRequestTokenIssuerResponse, Mesh } from "../protocol/index.ts";

/** Questions that are on their way at once; beyond it they are refused. */
const questionsAtOnceMax = 1_024;
const questionTimeoutMillis = 2_500;

/** Hands questions to the issuer of request tokens on, and its answers back, of which this process can read and make nothing. */
export class QuestionRelay {
  #onTheirWay = 0;

  /** Throws a `ConnectError` where there are too many, or no answer comes in time. */
  async handOn(
    controlPlane: Client<typeof Mesh>,
    question: AskRequestTokenIssuerRequest,
  ): Promise<AskRequestTokenIssuerResponse> {
    if (this.#onTheirWay >= questionsAtOnceMax)
      throw new ConnectError("too many questions about request tokens at once", Code.ResourceExhausted);
    this.#onTheirWay += 1;
    try {
      return await controlPlane.askRequestTokenIssuer(question, { timeoutMs: questionTimeoutMillis });
    } finally {
      this.#onTheirWay -= 1;
    }
  }
}
