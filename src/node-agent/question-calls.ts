import { type Client, Code, ConnectError } from "@connectrpc/connect";
import type { AskRequestTokenIssuerRequest, AskRequestTokenIssuerResponse, Mesh } from "../protocol/index.ts";

/** Questions that are on their way at once; beyond it they are refused. */
const questionsAtOnceMax = 1_024;
const questionTimeoutMillis = 2_500;

/**
 * Hands questions to the issuer of request tokens on, and its answers back, of which this process can read and make
 * nothing. Throws a `ConnectError` where there are too many, or no answer comes in time.
 */
export function questionCalls(controlPlane: () => Client<typeof Mesh>): {
  readonly askRequestTokenIssuer: (
    question: AskRequestTokenIssuerRequest,
  ) => Promise<AskRequestTokenIssuerResponse>;
} {
  let onTheirWay = 0;
  return {
    askRequestTokenIssuer: async (question) => {
      if (onTheirWay >= questionsAtOnceMax)
        throw new ConnectError("too many questions about request tokens at once", Code.ResourceExhausted);
      onTheirWay += 1;
      try {
        return await controlPlane().askRequestTokenIssuer(question, { timeoutMs: questionTimeoutMillis });
      } finally {
        onTheirWay -= 1;
      }
    },
  };
}
