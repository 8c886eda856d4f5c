import { expect, it } from "vitest";
import { generateEd25519, generateP256 } from "../crypto/index.ts";
import { testDomain, testSvid } from "../identity/svid-for-tests.ts";
import {
  type AskedQuestion,
  askQuestion,
  type PresentedQuestion,
  questionBytesMax,
  readQuestion,
  sealedAnswerBytesMax,
} from "./request-token-question.ts";

const holder = generateP256();
const { issuer } = testDomain("test.example");
const [certificate = new Uint8Array(0)] = testSvid(issuer, "spiffe://test.example/shop/web", holder).chain;
const issuerKeys = generateEd25519();
const wanted = { case: "audienceKeys", value: { bootId: "0123456789abcdef" } } as const;
const content = { issuerMillis: 7n, outcome: { case: "token", value: "a token" } } as const;

function ask(): AskedQuestion {
  return askQuestion({ certificate, privateKey: holder.privateKey }, { epoch: 3, wanted });
}

function read(request: AskedQuestion["request"]): PresentedQuestion {
  const question = readQuestion({ ...request });
  if (!question.ok) throw new Error(question.detail);
  return question.value;
}

function flip(bytes: Uint8Array, place: number): Uint8Array {
  return bytes.map((byte, at) => (at === place ? byte ^ 1 : byte));
}

it("carries a question to the issuer and its answer back", () => {
  const asked = ask();
  const presented = read(asked.request);

  expect(presented.isSigned()).toBe(true);
  expect(presented.question).toMatchObject({ epoch: 3n, wanted });
  const answer = presented.answer(content, issuerKeys.privateKey);
  expect(asked.open(answer, [generateEd25519().publicKey, issuerKeys.publicKey])).toMatchObject({
    ok: true,
    value: content,
  });
  expect(Buffer.from(answer.sealed).includes("a token")).toBe(false);
});

it("counts as signed by nobody once a single bit of question, certificate or signature is another", () => {
  const { request } = ask();
  const counts: boolean[] = [];
  for (const part of ["question", "certificate", "signature"] as const)
    for (let place = 0; place < request[part].byteLength; place += 1) {
      const question = readQuestion({ ...request, [part]: flip(request[part], place) });
      counts.push(question.ok && question.value.isSigned());
    }

  expect(counts).not.toContain(true);
});

it("believes no answer with a single bit changed, nor one by a key that the log does not name", () => {
  const asked = ask();
  const { sealed, signature } = read(asked.request).answer(content, issuerKeys.privateKey);
  const open = (answer: { sealed: Uint8Array; signature: Uint8Array }, key = issuerKeys): boolean =>
    asked.open(answer, [key.publicKey]).ok;

  expect(open({ sealed, signature })).toBe(true);
  for (let place = 0; place < sealed.byteLength; place += 1)
    expect(open({ sealed: flip(sealed, place), signature }), `byte ${place}`).toBe(false);
  for (let place = 0; place < signature.byteLength; place += 1)
    expect(open({ sealed, signature: flip(signature, place) }), `byte ${place}`).toBe(false);
  expect(open({ sealed, signature }, generateEd25519())).toBe(false);
  expect(asked.open({ sealed, signature }, []).ok).toBe(false);
});

it("believes no answer to another question, however alike the two are", () => {
  const answer = read(ask().request).answer(content, issuerKeys.privateKey);

  expect(ask().open(answer, [issuerKeys.publicKey])).toMatchObject({ reason: "answer-forged" });
});

it("believes what the issuer signed only where it was sealed to this question's key", () => {
  // Somebody who passes the question off as another's: the issuer answers them, and signs.
  const asked = ask();
  const thief = ask();
  const presented = read(asked.request);
  const toThief = { ...presented, answer: read(thief.request).answer };

  const answer = toThief.answer(content, issuerKeys.privateKey);
  expect(asked.open(answer, [issuerKeys.publicKey]).ok).toBe(false);
  expect(
    asked.open({ ...answer, sealed: new Uint8Array(sealedAnswerBytesMax + 1) }, [issuerKeys.publicKey]),
  ).toMatchObject({ detail: "too long" });
});

it.each<readonly [string, Partial<AskedQuestion["request"]>]>([
  ["comes with a certificate that is longer than any", { certificate: new Uint8Array(100_000) }],
  ["is no message", { question: Uint8Array.of(0xff, 0xff) }],
  ["has no key to seal to", { question: new Uint8Array(0) }],
])("refuses a question that %s", (_, unusual) => {
  expect(readQuestion({ ...ask().request, ...unusual })).toMatchObject({ reason: "malformed-question" });
});

it("refuses a question that is longer than any, however well-formed", () => {
  const padded = (length: number): Uint8Array => {
    const { question } = ask().request;
    // An unknown field of so many bytes: number 15, its length in two bytes.
    const extra = length - question.byteLength - 3;
    return Buffer.concat([question, Buffer.of(0x7a, 0x80 | (extra & 0x7f), extra >> 7), Buffer.alloc(extra)]);
  };
  const { request } = ask();

  expect(readQuestion({ ...request, question: padded(questionBytesMax) })).toMatchObject({ ok: true });
  expect(readQuestion({ ...request, question: padded(questionBytesMax + 1) })).toMatchObject({
    reason: "malformed-question",
    detail: "too long",
  });
});

it("answers nothing where nothing can be sealed to the key, and does not throw", () => {
  // A question whose key is the point zero: 32 zero bytes in field 2.
  const question = Buffer.concat([Buffer.from("1220", "hex"), Buffer.alloc(32)]);
  const presented = read({ ...ask().request, question });

  expect(presented.isSigned()).toBe(false);
  expect(presented.answer(content, issuerKeys.privateKey).sealed).toHaveLength(0);
});

it("counts as signed by nobody where the certificate is none", () => {
  expect(read({ ...ask().request, certificate: new Uint8Array(10) }).isSigned()).toBe(false);
});
