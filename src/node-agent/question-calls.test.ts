import { Socket } from "node:net";
import { create } from "@bufbuild/protobuf";
import { Code, ConnectError, createContextValues } from "@connectrpc/connect";
import { beforeEach, expect, it } from "vitest";
import { hexOf } from "../base/bytes.ts";
import { certificateBytesMax, sha256 } from "../crypto/index.ts";
import {
  AskRequestTokenIssuerRequestSchema,
  type AskRequestTokenIssuerResponse,
  AskRequestTokenIssuerResponseSchema,
} from "../protocol/index.ts";
import { unixConnection } from "../transport/index.ts";
import { TrustState } from "../trust-log/index.ts";
import { type QuestionCalls, questionCalls } from "./question-calls.ts";

const certificate = Uint8Array.of(7);
const instance = "0197f3a0-1111-7222-8333-444455556666";
const answer = create(AskRequestTokenIssuerResponseSchema, { sealed: Uint8Array.of(7) });

let state: TrustState;
let calls: QuestionCalls;
let handedOn: number;
let admitted: string[];
let answered: () => Promise<AskRequestTokenIssuerResponse>;
/** What happens while news of the log is waited for. */
let news: () => void;
let isHere: boolean;
const sockets = { one: new Socket(), two: new Socket() };

beforeEach(() => {
  state = new TrustState();
  handedOn = 0;
  admitted = [];
  answered = () => Promise.resolve(answer);
  news = () => {};
  isHere = true;
  nameCertificate();
  calls = questionCalls(
    {
      controlPlane: {
        askRequestTokenIssuer: () => {
          handedOn += 1;
          return answered();
        },
      },
      view: {
        follower: {
          get state() {
            return state;
          },
        },
        waitUntil: (isSo) => {
          if (!isSo()) news();
          return Promise.resolve(isSo());
        },
      },
      knows: () => isHere,
    },
    {
      callerAt: (connection) => Promise.resolve(connection ?? "nobody"),
      admit: async (connection, claimed) => {
        if (connection === sockets.two)
          throw new ConnectError("instance-of-another-process", Code.PermissionDenied);
        admitted.push(claimed);
      },
    },
  );
});

function nameCertificate(): void {
  const rest = { spiffeId: "spiffe://test.example/shop/web", serial: "01", notAfterSeconds: 1 };
  state.certificates.set(hexOf(sha256(certificate)), { ...rest, instance });
}

function ask(connection = sockets.one, shown = certificate): Promise<AskRequestTokenIssuerResponse> {
  const values = createContextValues().set(unixConnection, connection);
  const question = create(AskRequestTokenIssuerRequestSchema, { certificate: shown });
  return calls.askRequestTokenIssuer(question, { values });
}

it("hands on what the caller's own instance asks", async () => {
  expect(await ask()).toBe(answer);
  expect([admitted, handedOn]).toEqual([[instance], 1]);
});

it("hands nothing on that a caller asks with another's certificate", async () => {
  await expect(ask(sockets.two)).rejects.toMatchObject({ code: Code.PermissionDenied });
  expect(handedOn).toBe(0);
});

it("hands nothing on with a certificate that the log does not name, and waits a moment for its entry", async () => {
  state.certificates.delete(hexOf(sha256(certificate)));
  await expect(ask()).rejects.toThrow("unknown-certificate");
  expect([admitted, handedOn]).toEqual([[], 0]);

  news = nameCertificate;

  expect(await ask()).toBe(answer);
});

it("hands nothing on for an instance of another node, nor with what is too long for a certificate", async () => {
  await expect(ask(sockets.one, new Uint8Array(certificateBytesMax + 1))).rejects.toMatchObject({
    code: Code.InvalidArgument,
  });
  isHere = false;
  await expect(ask()).rejects.toThrow("not-on-this-node");
  expect([admitted, handedOn]).toEqual([[], 0]);
});

it("has a bounded number of a caller's on their way, room for others, and again once they are answered", async () => {
  const held = Promise.withResolvers<AskRequestTokenIssuerResponse>();
  answered = () => held.promise;
  const asked = Array.from({ length: 256 }, () => ask());

  await expect(ask()).rejects.toMatchObject({ code: Code.ResourceExhausted });
  await expect(ask(sockets.two)).rejects.toMatchObject({ code: Code.PermissionDenied });
  const another = ask(new Socket());

  held.resolve(answer);
  expect(await Promise.all([...asked, another])).toHaveLength(257);
  expect(await ask()).toBe(answer);
});

it("has a bounded number of all callers' on their way", async () => {
  const held = Promise.withResolvers<AskRequestTokenIssuerResponse>();
  answered = () => held.promise;
  const others = Array.from({ length: 16 }, () => new Socket());
  const asked = others.flatMap((socket) => Array.from({ length: 256 }, () => ask(socket)));

  await expect(ask()).rejects.toMatchObject({ code: Code.ResourceExhausted });

  held.resolve(answer);
  await Promise.all(asked);
  expect(await ask()).toBe(answer);
});

it("has room again where the control plane is not there", async () => {
  answered = () => Promise.reject(new Error("no control plane"));

  for (let count = 0; count <= 256; count += 1) await expect(ask()).rejects.toThrow("no control plane");
});
