import type { KeyObject } from "node:crypto";
import { create, fromBinary, type MessageInitShape, toBinary } from "@bufbuild/protobuf";
import { bytesOf, concatBytes, hexOf } from "../base/bytes.ts";
import { fail, ok, type Result } from "../base/result.ts";
import {
  certificateBytesMax,
  generateX25519,
  openSealed,
  p256PublicKey,
  parseCertificate,
  sealTo,
  sha256,
  signEd25519,
  signEs256,
  verifyEd25519,
  verifyJws,
  x25519PublicKeyBytes,
  x25519PublicKeyOf,
} from "../crypto/index.ts";
import {
  type AskRequestTokenIssuerRequest,
  type AskRequestTokenIssuerResponse,
  type RequestTokenAnswer,
  RequestTokenAnswerSchema,
  type RequestTokenQuestion,
  RequestTokenQuestionSchema,
} from "../protocol/index.ts";

/** The longest question, in bytes, without the certificate beside it. */
export const questionBytesMax = 2_048;
/** The longest sealed answer, in bytes: a day's keys are some five thousand. */
export const sealedAnswerBytesMax = 16_384;

const questionLabel = bytesOf("troth/1 request-token question\0");
const answerLabel = bytesOf("troth/1 request-token answer\0");

/** By what an asker is known to the issuer of request tokens: its SVID (DER) and the key of that. */
export interface QuestionSigner {
  readonly certificate: Uint8Array;
  readonly privateKey: KeyObject;
}

/** A question on its way. It takes one answer: the key that can read it is in here and nowhere else. */
export interface AskedQuestion {
  readonly request: {
    readonly question: Uint8Array;
    readonly certificate: Uint8Array;
    readonly signature: Uint8Array;
  };
  /** Reads the answer, of which the relay can have made nothing: it is to this question, and by one of these issuer's keys. */
  readonly open: (
    response: Pick<AskRequestTokenIssuerResponse, "sealed" | "signature">,
    issuerKeys: readonly KeyObject[],
  ) => Result<RequestTokenAnswer, "answer-forged">;
}

/** Why the issuer of request tokens says no, in the order in which it looks. */
export const issuerRefusals = [
  "log-not-current",
  "unknown-certificate",
  "not-on-this-node",
  "too-many-questions",
  "bad-proof",
  "quarantined",
  "stale-question",
  "malformed-question",
  "unknown-audience",
  "not-served-there",
  "request-tokens-off",
  "per-request-only",
  "no-rule",
  "rule-denies",
] as const;

/** One of {@link issuerRefusals}. */
export type IssuerRefusal = (typeof issuerRefusals)[number];

/**
 * The refusals of a question of which it is not shown who has asked it, or not worth the while: they are neither sealed
 * nor signed, so that they cost little and count for nothing more than silence, since the relay could have said them.
 */
export const unsealedRefusals = [
  "log-not-current",
  "unknown-certificate",
  "not-on-this-node",
  "too-many-questions",
  "bad-proof",
] as const satisfies readonly IssuerRefusal[];

/** One of {@link unsealedRefusals}. */
export type UnsealedRefusal = (typeof unsealedRefusals)[number];

/** What can be wanted, as the protocol says it. */
export type QuestionWanted = NonNullable<MessageInitShape<typeof RequestTokenQuestionSchema>["wanted"]>;

/** Writes and signs a question to the issuer of request tokens, for a relay that can neither answer it nor read the answer. */
export function askQuestion(
  { certificate, privateKey }: QuestionSigner,
  { epoch, wanted }: { readonly epoch: number; readonly wanted: QuestionWanted },
): AskedQuestion {
  const recipient = generateX25519();
  const sealTo = x25519PublicKeyOf(recipient);
  const message = create(RequestTokenQuestionSchema, { epoch: BigInt(epoch), sealTo, wanted });
  const question = toBinary(RequestTokenQuestionSchema, message);
  const about = bindingOf(question, certificate);
  const signature = signEs256(privateKey, concatBytes(questionLabel, about));
  return {
    request: { question, certificate, signature },
    open: ({ sealed, signature: answered }, issuerKeys) => {
      if (sealed.byteLength > sealedAnswerBytesMax) return fail("answer-forged", "too long");
      const signed = concatBytes(answerLabel, about, sealed);
      if (!issuerKeys.some((key) => verifyEd25519(key, signed, answered)))
        return fail("answer-forged", "no issuer that the trust log names has signed it for this question");
      const opened = openSealed(recipient, { info: answerLabel, about }, sealed);
      const answer = opened === undefined ? undefined : read(RequestTokenAnswerSchema, opened);
      return answer === undefined ? fail("answer-forged", "it cannot be read") : ok(answer);
    },
  };
}

/** A question as the issuer has it, whose signature nobody has looked at yet. */
export interface PresentedQuestion {
  readonly question: RequestTokenQuestion;
  /** SHA-256 of the certificate that came with it, and the same in hex, as entries name it. */
  readonly fingerprint: Uint8Array;
  readonly certificateId: string;
  /** Whether the certificate's key has signed this very question. */
  readonly isSigned: () => boolean;
  /** Seals an answer to whoever asked, signed by the issuer's key. */
  readonly answer: (
    content: MessageInitShape<typeof RequestTokenAnswerSchema>,
    issuerKey: KeyObject,
  ) => { readonly sealed: Uint8Array; readonly signature: Uint8Array };
}

/** Reads a question at the issuer. Never throws. */
export function readQuestion(
  request: Pick<AskRequestTokenIssuerRequest, "question" | "certificate" | "signature">,
): Result<PresentedQuestion, "malformed-question"> {
  const { question, certificate, signature } = request;
  if (question.byteLength > questionBytesMax || certificate.byteLength > certificateBytesMax)
    return fail("malformed-question", "too long");
  const message = read(RequestTokenQuestionSchema, question);
  if (message === undefined) return fail("malformed-question", "it cannot be read");
  const about = bindingOf(question, certificate);
  const recipient = message.sealTo;
  if (recipient.byteLength !== x25519PublicKeyBytes)
    return fail("malformed-question", `no key to seal to: ${recipient.byteLength} bytes`);
  const fingerprint = sha256(certificate);
  return ok({
    question: message,
    fingerprint,
    certificateId: hexOf(fingerprint),
    isSigned: () => {
      const leaf = parseCertificate(certificate);
      const key = leaf.ok ? p256PublicKey(leaf.value.publicKeyInfo) : undefined;
      const input = concatBytes(questionLabel, about);
      return key !== undefined && verifyJws("ES256", key, { input, signature });
    },
    answer: (content, issuerKey) => {
      const opened = toBinary(RequestTokenAnswerSchema, create(RequestTokenAnswerSchema, content));
      // Nothing for a key to which nothing can be sealed: its owner chose it.
      const sealed = sealTo(recipient, { info: answerLabel, about }, opened) ?? new Uint8Array(0);
      return { sealed, signature: signEd25519(issuerKey, concatBytes(answerLabel, about, sealed)) };
    },
  });
}

/** What question and answer are bound to; of fixed length, so that nothing can be moved from one part to the other. */
function bindingOf(question: Uint8Array, certificate: Uint8Array): Uint8Array {
  return concatBytes(sha256(question), sha256(certificate));
}

function read<Schema extends typeof RequestTokenQuestionSchema | typeof RequestTokenAnswerSchema>(
  schema: Schema,
  bytes: Uint8Array,
): ReturnType<typeof fromBinary<Schema>> | undefined {
  try {
    return fromBinary(schema, bytes);
  } catch {
    return undefined;
  }
}
