import { createPublicKey } from "node:crypto";
import { once } from "node:events";
import { writeFile } from "node:fs/promises";
import type { IncomingMessage, ServerResponse } from "node:http";
import https from "node:https";
import { join } from "node:path";
import { z } from "zod";
import { isJsonObject, type Json } from "../../src/base/canonical-json.ts";
import { readCompactJws, type TokenObject, verifyJws } from "../../src/crypto/index.ts";
import { temporaryFolder } from "../contracts/temporary-folder.ts";
import { edgeCertificate } from "./edge-certificate.ts";
import { type ClusterKey, keySetOf } from "./service-account-tokens.ts";

const agentToken = "agent.of.the.node";
const apiAudience = "https://kubernetes.default.svc";
const question = z.object({
  apiVersion: z.literal("authentication.k8s.io/v1"),
  kind: z.literal("TokenReview"),
  spec: z.object({ token: z.string(), audiences: z.array(z.string()).optional() }),
});

/** The part of a cluster's API that agents ask, over HTTPS by a CA of its own: its keys and TokenReview. */
export interface ClusterApi extends AsyncDisposable {
  readonly url: string;
  readonly keysUrl: string;
  /** Files as a node has them. */
  readonly caFile: string;
  readonly tokenFile: string;
  readonly ca: string;
  /** The uids of pods that were deleted. */
  readonly deleted: Set<string>;
  /** How many reviews were asked for by who may ask. */
  reviews: number;
  /** What every answer is, instead of what is so: a status, a text, or none at all. */
  instead: { readonly status: number; readonly text: string } | "silence" | undefined;
}

/** Serves a cluster that signs by `key`. */
export async function openClusterApi(key: ClusterKey): Promise<ClusterApi> {
  const stack = new AsyncDisposableStack();
  const folder = stack.use(await temporaryFolder());
  const certificate = edgeCertificate("localhost");
  const server = https.createServer({ cert: certificate.chainPem, key: certificate.keyPem });
  server.listen(0, "localhost");
  await once(server, "listening");
  stack.defer(() => {
    server.closeAllConnections();
    server.close();
  });
  const address = server.address();
  const url = `https://localhost:${typeof address === "object" ? address?.port : 0}`;
  const [caFile, tokenFile] = [join(folder.path, "ca.pem"), join(folder.path, "agent-token")];
  await writeFile(caFile, certificate.chainPem);
  await writeFile(tokenFile, `${agentToken}\n`);
  const api: ClusterApi = {
    url,
    keysUrl: `${url}/openid/v1/jwks`,
    caFile,
    tokenFile,
    ca: certificate.chainPem,
    deleted: new Set(),
    reviews: 0,
    instead: undefined,
    [Symbol.asyncDispose]: () => stack.disposeAsync(),
  };
  server.on("request", (request: IncomingMessage, response: ServerResponse) => {
    void answer(api, key, request).then((said) => {
      if (said !== undefined)
        response.writeHead(said.status, { "content-type": "application/json" }).end(said.text);
    });
  });
  return api;
}

async function answer(
  api: ClusterApi,
  key: ClusterKey,
  request: IncomingMessage,
): Promise<{ readonly status: number; readonly text: string } | undefined> {
  const chunks: Buffer[] = [];
  for await (const chunk of request) chunks.push(Buffer.from(chunk));
  if (request.method === "GET" && request.url === "/openid/v1/jwks")
    return { status: 200, text: keySetOf(key) };
  if (request.method !== "POST" || request.url !== "/apis/authentication.k8s.io/v1/tokenreviews")
    return { status: 404, text: "{}" };
  if (request.headers.authorization !== `Bearer ${agentToken}`) return { status: 401, text: "{}" };
  api.reviews += 1;
  if (api.instead === "silence") return undefined;
  if (api.instead !== undefined) return api.instead;
  const { apiVersion, kind, spec } = question.parse(JSON.parse(Buffer.concat(chunks).toString()));
  const status = reviewOf(spec, api, key);
  return { status: 201, text: JSON.stringify({ apiVersion, kind, metadata: {}, spec, status }) };
}

function reviewOf(
  { token, audiences = [apiAudience] }: z.infer<typeof question>["spec"],
  { deleted }: ClusterApi,
  { privateKey }: ClusterKey,
): Json {
  const no = (error: string): Json => ({ authenticated: false, error, user: {} });
  const jws = readCompactJws(token);
  if (!jws.ok || !verifyJws("ES256", createPublicKey(privateKey), jws.value))
    return no("invalid bearer token");
  const { claims } = jws.value;
  if (Number(claims["exp"]) <= Date.now() / 1000) return no("token has expired");
  const cluster = objectOf(claims["kubernetes.io"]);
  const [account, pod] = [objectOf(cluster["serviceaccount"]), objectOf(cluster["pod"])];
  if (deleted.has(textIn(pod, "uid"))) return no("pod was deleted");
  const own = Array.isArray(claims["aud"]) ? claims["aud"] : [];
  const common = audiences.filter((audience) => own.includes(audience));
  if (common.length === 0) return no("token audiences do not match");
  const user = {
    username: `system:serviceaccount:${textIn(cluster, "namespace")}:${textIn(account, "name")}`,
    uid: textIn(account, "uid"),
    groups: ["system:serviceaccounts", "system:authenticated"],
    extra: {
      "authentication.kubernetes.io/pod-name": [textIn(pod, "name")],
      "authentication.kubernetes.io/pod-uid": [textIn(pod, "uid")],
    },
  };
  return { authenticated: true, user, audiences: common };
}

function objectOf(value: Json | undefined): TokenObject {
  return value !== undefined && isJsonObject(value) ? value : {};
}

function textIn(value: TokenObject, name: string): string {
  const text = value[name];
  return typeof text === "string" ? text : "";
}
