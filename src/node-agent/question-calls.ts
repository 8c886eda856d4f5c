import type { Socket } from "node:net";
import { type Client, Code, ConnectError, type HandlerContext } from "@connectrpc/connect";
import { hexOf } from "../base/bytes.ts";
import { certificateBytesMax, sha256 } from "../crypto/index.ts";
import type { AskRequestTokenIssuerRequest, AskRequestTokenIssuerResponse, Mesh } from "../protocol/index.ts";
import { type LogView, unixConnection } from "../transport/index.ts";
import type { TrustState } from "../trust-log/index.ts";
import type { SidecarCallers } from "./sidecar-callers.ts";

/** Questions that are on their way at once, of one caller and in all; beyond it they are refused. */
const questionsOfCallerMax = 256;
const questionsAtOnceMax = 4_096;
/** How long an entry that names the certificate is waited for: its holder may have it sooner. */
const certificateWaitMillis = 400;
const questionTimeoutMillis = 2_500;

/** What of the agent handing questions on takes. */
export interface QuestionRelay {
  /** Throws, for the caller, while it is not there. */
  readonly controlPlane: Pick<Client<typeof Mesh>, "askRequestTokenIssuer">;
  /** The agent's own view of the log, as it is now. */
  readonly view: Pick<LogView, "waitUntil"> & {
    readonly follower: { readonly state: Pick<TrustState, "certificates"> };
  };
  /** Whether an instance is here, or in the log as one of this node. */
  knows(instance: string): boolean;
}

/** Hands a question of a sidecar on; throws a `ConnectError`, for the caller, where no answer is had. */
export interface QuestionCalls {
  readonly askRequestTokenIssuer: (
    question: AskRequestTokenIssuerRequest,
    context: Pick<HandlerContext, "values">,
  ) => Promise<AskRequestTokenIssuerResponse>;
}

/**
 * Hands questions to the issuer of request tokens on, and its answers back, of which this process can read and make
 * nothing. It hands on what comes with a certificate of the caller's own instance, and so many of each caller at once, so
 * that a process asks in nobody else's name and takes nobody else's place.
 */
export function questionCalls(
  relay: QuestionRelay,
  callers: Pick<SidecarCallers, "admit" | "callerAt">,
): QuestionCalls {
  const onTheirWay = new Map<string | Socket, number>();
  let inAll = 0;
  return {
    askRequestTokenIssuer: async (question, { values }) => {
      const connection = values.get(unixConnection);
      const caller = await callers.callerAt(connection);
      const own = onTheirWay.get(caller) ?? 0;
      if (own >= questionsOfCallerMax || inAll >= questionsAtOnceMax)
        throw new ConnectError("too many questions about request tokens at once", Code.ResourceExhausted);
      onTheirWay.set(caller, own + 1);
      inAll += 1;
      try {
        await callers.admit(connection, await instanceOf(relay, question.certificate));
        return await relay.controlPlane.askRequestTokenIssuer(question, { timeoutMs: questionTimeoutMillis });
      } finally {
        inAll -= 1;
        const left = (onTheirWay.get(caller) ?? 1) - 1;
        if (left === 0) onTheirWay.delete(caller);
        else onTheirWay.set(caller, left);
      }
    },
  };
}

/** The instance of this node that the log gives a certificate to. */
async function instanceOf(relay: QuestionRelay, certificate: Uint8Array): Promise<string> {
  if (certificate.byteLength > certificateBytesMax)
    throw new ConnectError("malformed-question: the certificate is too long", Code.InvalidArgument);
  const id = hexOf(sha256(certificate));
  const { view } = relay;
  const named = (): string | undefined => view.follower.state.certificates.get(id)?.instance;
  await view.waitUntil(() => named() !== undefined, certificateWaitMillis);
  const instance = named();
  if (instance === undefined)
    throw new ConnectError(
      "unknown-certificate: the trust log, as far as this node has it, does not name it",
      Code.PermissionDenied,
    );
  if (!relay.knows(instance))
    throw new ConnectError(
      `not-on-this-node: ${instance} is registered on another node`,
      Code.PermissionDenied,
    );
  return instance;
}
