import { create } from "@bufbuild/protobuf";
import { Code, ConnectError, type HandlerContext, type ServiceImpl } from "@connectrpc/connect";
import { hexOf } from "../../base/bytes.ts";
import type { RandomBytes } from "../../base/clock.ts";
import type { Log } from "../../base/log.ts";
import { messageOf } from "../../base/mesh-error.ts";
import {
  type DiscoveryRequest,
  type DiscoveryResponse,
  DiscoveryResponseSchema,
  type Secret,
  type SecretDiscoveryService,
  SecretSchema,
} from "../../protocol/index.ts";
import { connectionCaller } from "./caller-context.ts";
import { Changes } from "./changes.ts";
import { hasSpiffeValidator, isSameSecrets, packSecret, type SecretsRequest, secretsFor } from "./secrets.ts";
import type { Grant, WorkloadGrants } from "./workload-grants.ts";

const typeUrl = `type.googleapis.com/${SecretSchema.typeName}`;
const nonceBytes = 4;
const namesMax = 256;

/** What Envoy's calls are answered from. */
export interface SecretCallParts {
  readonly grants: WorkloadGrants;
  readonly randomBytes: RandomBytes;
  readonly log: Log;
  readonly closing: AbortSignal;
}

/** Envoy's Secret Discovery Service, as SPIRE's agent serves it; no header is asked for. */
export function secretCalls(parts: SecretCallParts): ServiceImpl<typeof SecretDiscoveryService> {
  return {
    streamSecrets: (requests, context) => streamSecrets(parts, requests, context),
    fetchSecrets: async (request, { values, signal }) => {
      const caller = values.get(connectionCaller);
      const grants = await parts.grants.once(caller, AbortSignal.any([signal, parts.closing]));
      return responseOf(parts, requireSecrets(parts, readRequest(request), grants), 1);
    },
    deltaSecrets: () => {
      throw new ConnectError("secrets are served by StreamSecrets", Code.Unimplemented);
    },
  };
}

/** Answers when other names are asked for, and when what they stand for is another. */
async function* streamSecrets(
  parts: SecretCallParts,
  requests: AsyncIterable<DiscoveryRequest>,
  { values, signal }: HandlerContext,
): AsyncGenerator<DiscoveryResponse> {
  const news = new Changes();
  const conversation = new Conversation(parts.log);
  const ending = new AbortController();
  using stack = new DisposableStack();
  stack.defer(() => ending.abort());
  stack.defer(parts.grants.changes.onChange(() => news.notify()));
  void conversation.hear(requests, () => news.notify()).finally(() => ending.abort());
  const over = AbortSignal.any([signal, parts.closing, ending.signal]);
  for await (const grants of parts.grants.follow(values.get(connectionCaller), over, news)) {
    if (conversation.refusal !== undefined) throw conversation.refusal;
    const { request } = conversation;
    if (request === undefined) continue;
    const secrets = requireSecrets(parts, request, grants);
    if (!conversation.isNews(secrets)) continue;
    const response = responseOf(parts, secrets, conversation.version + 1);
    conversation.said(request, secrets, response.nonce);
    yield response;
  }
  if (conversation.refusal !== undefined) throw conversation.refusal;
}

/** What one Envoy has asked for and been told. */
class Conversation {
  request: SecretsRequest | undefined;
  refusal: ConnectError | undefined;
  version = 0;
  readonly #log: Log;
  #nonce = "";
  #node: DiscoveryRequest["node"];
  #answered: SecretsRequest | undefined;
  #told: readonly Secret[] = [];

  constructor(log: Log) {
    this.#log = log;
  }

  /** Hears requests until there are no more, or one is none. */
  async hear(requests: AsyncIterable<DiscoveryRequest>, heard: () => void): Promise<void> {
    try {
      for await (const request of requests) {
        this.#hear(request);
        heard();
      }
    } catch (error) {
      if (error instanceof ConnectError && error.code === Code.InvalidArgument) this.refusal = error;
    }
  }

  /** Whether secrets have to be said: they are others than were said last, or in answer to another request. */
  isNews(secrets: readonly Secret[]): boolean {
    return this.#answered !== this.request || !isSameSecrets(this.#told, secrets);
  }

  said(request: SecretsRequest, secrets: readonly Secret[], nonce: string): void {
    this.version += 1;
    this.#nonce = nonce;
    this.#answered = request;
    this.#told = secrets;
  }

  #hear(request: DiscoveryRequest): void {
    this.#node ??= request.node;
    // An answer to what was said before the last: another one is on its way.
    if (request.responseNonce !== "" && request.responseNonce !== this.#nonce) return;
    if (request.responseNonce !== "" && (request.errorDetail ?? undefined) !== undefined)
      this.#log.warn("an Envoy refused its secrets", {
        version: request.versionInfo,
        error: messageOf(new Error(request.errorDetail?.message.slice(0, 256))),
      });
    const read = readRequest(
      this.#node === undefined || request.node !== undefined ? request : { ...request, node: this.#node },
    );
    const isSame = JSON.stringify(read) === JSON.stringify(this.request);
    if (!isSame) this.request = read;
  }
}

function readRequest(request: DiscoveryRequest): SecretsRequest {
  const { typeUrl: type, resourceNames } = request;
  if (type !== "" && type !== typeUrl)
    throw new ConnectError(`there are no resources of ${type} here`, Code.InvalidArgument);
  if (resourceNames.length > namesMax)
    throw new ConnectError(`at most ${namesMax} names`, Code.InvalidArgument);
  return { names: [...resourceNames].sort(), hasValidator: hasSpiffeValidator(request.node) };
}

function requireSecrets(
  parts: SecretCallParts,
  request: SecretsRequest,
  grants: readonly Grant[],
): readonly Secret[] {
  const secrets = secretsFor(request, grants, parts.grants.state);
  if (!secrets.ok) throw new ConnectError(secrets.detail, Code.InvalidArgument);
  return secrets.value;
}

function responseOf(
  { randomBytes }: SecretCallParts,
  secrets: readonly Secret[],
  version: number,
): DiscoveryResponse {
  return create(DiscoveryResponseSchema, {
    versionInfo: String(version),
    typeUrl,
    nonce: hexOf(randomBytes(nonceBytes)),
    resources: secrets.map(packSecret),
  });
}
