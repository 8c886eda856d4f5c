import { create } from "@bufbuild/protobuf";
import { type Client, Code, createClient, createRouterTransport } from "@connectrpc/connect";
import { expect, it } from "vitest";
import { AskRequestTokenIssuerRequestSchema, Mesh } from "../protocol/index.ts";
import { questionCalls } from "./question-calls.ts";

const question = create(AskRequestTokenIssuerRequestSchema, { question: Uint8Array.of(1) });

function controlPlane(answer: () => Promise<{ sealed: Uint8Array }>): () => Client<typeof Mesh> {
  const transport = createRouterTransport((router) => {
    router.service(Mesh, { askRequestTokenIssuer: answer });
  });
  return () => createClient(Mesh, transport);
}

it("has a bounded number of questions on their way, and room again once they are answered", async () => {
  const answered = Promise.withResolvers<{ sealed: Uint8Array }>();
  const calls = questionCalls(controlPlane(() => answered.promise));
  const asked = Array.from({ length: 1_024 }, () => calls.askRequestTokenIssuer(question));

  await expect(calls.askRequestTokenIssuer(question)).rejects.toMatchObject({ code: Code.ResourceExhausted });

  answered.resolve({ sealed: Uint8Array.of(7) });
  await Promise.all(asked);
  expect(await calls.askRequestTokenIssuer(question)).toMatchObject({ sealed: Uint8Array.of(7) });
});

it("has room again where the control plane is not there", async () => {
  const calls = questionCalls(() => {
    throw new Error("no control plane");
  });

  for (let count = 0; count <= 1_024; count += 1)
    await expect(calls.askRequestTokenIssuer(question)).rejects.toThrow("no control plane");
});
