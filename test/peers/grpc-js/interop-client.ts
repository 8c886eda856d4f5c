import {
  Client,
  type ClientDuplexStream,
  type ClientReadableStream,
  type ClientUnaryCall,
  credentials,
  Metadata,
  type ServiceError,
  type StatusObject,
  status,
} from "@grpc/grpc-js";
import type { MethodDefinition } from "@grpc/proto-loader";

const deadlineMillisDefault = 30_000;

/** Where a call goes: the address that is dialled, and the name that is asked for there. */
export interface GrpcTarget {
  /** host:port. */
  readonly address: string;
  readonly authority: string;
}

/** What a call is made with. */
export interface CallOptions {
  readonly deadlineMillis?: number;
  readonly metadata?: Metadata;
}

/** How a call ended. */
export interface CallEnd {
  /** Its name, e.g. `UNAVAILABLE`. */
  readonly status: string;
  readonly details: string;
  readonly header: Metadata;
  readonly trailer: Metadata;
  /** The one answer of a call that has only one; undefined without success. */
  readonly response: object | undefined;
}

/** The caller's side of a stream of answers. */
export interface Answers {
  /** The next answer; undefined after the last, however the call ended. */
  readonly next: () => Promise<object | undefined>;
  readonly cancel: () => void;
  readonly ended: Promise<CallEnd>;
}

/** The caller's side of a stream of requests. */
export interface Requests {
  readonly send: (request: object) => void;
  /** Says that there are no more. */
  readonly finish: () => void;
  readonly cancel: () => void;
  readonly ended: Promise<CallEnd>;
}

/** What of a method the caller needs. */
type Method = Pick<MethodDefinition<object, object>, "path" | "requestSerialize" | "responseDeserialize">;

/** A client by @grpc/grpc-js, over cleartext HTTP/2 with prior knowledge, on a connection of its own. */
export class InteropClient implements Disposable {
  readonly #client: Client;

  constructor({ address, authority }: GrpcTarget) {
    this.#client = new Client(address, credentials.createInsecure(), {
      "grpc.default_authority": authority,
      "grpc.use_local_subchannel_pool": 1,
      "grpc.enable_http_proxy": 0,
      "grpc.max_receive_message_length": -1,
      "grpc.max_send_message_length": -1,
    });
  }

  /** One request, one answer. */
  unary(method: Method, request: object, options: CallOptions = {}): Promise<CallEnd> {
    const answered = new Answered();
    const { path, requestSerialize, responseDeserialize } = method;
    const call = this.#client.makeUnaryRequest(
      path,
      requestSerialize,
      responseDeserialize,
      request,
      ...begun(options),
      answered.take,
    );
    return answered.endOf(call);
  }

  /** Requests one after the other, one answer. */
  clientStream(method: Method, options: CallOptions = {}): Requests {
    const answered = new Answered();
    const { path, requestSerialize, responseDeserialize } = method;
    const call = this.#client.makeClientStreamRequest(
      path,
      requestSerialize,
      responseDeserialize,
      ...begun(options),
      answered.take,
    );
    call.on("error", () => {});
    return {
      send: (request) => call.write(request),
      finish: () => call.end(),
      cancel: () => call.cancel(),
      ended: answered.endOf(call),
    };
  }

  /** One request, answers one after the other. */
  serverStream(method: Method, request: object, options: CallOptions = {}): Answers {
    const { path, requestSerialize, responseDeserialize } = method;
    const call = this.#client.makeServerStreamRequest(
      path,
      requestSerialize,
      responseDeserialize,
      request,
      ...begun(options),
    );
    return answersOf(call);
  }

  /** Requests and answers, each when it comes. */
  duplex(method: Method, options: CallOptions = {}): Requests & Answers {
    const { path, requestSerialize, responseDeserialize } = method;
    const call = this.#client.makeBidiStreamRequest(
      path,
      requestSerialize,
      responseDeserialize,
      ...begun(options),
    );
    return {
      send: (request) => call.write(request),
      finish: () => call.end(),
      ...answersOf(call),
    };
  }

  [Symbol.dispose](): void {
    this.#client.close();
  }
}

function begun({
  metadata = new Metadata(),
  deadlineMillis = deadlineMillisDefault,
}: CallOptions): [Metadata, { readonly deadline: number }] {
  return [metadata, { deadline: Date.now() + deadlineMillis }];
}

/** The one answer of a call, which may come before its status or after it. */
class Answered {
  readonly #answer = Promise.withResolvers<object | undefined>();

  readonly take = (_error: ServiceError | null, response?: object): void => this.#answer.resolve(response);

  async endOf(call: Pick<ClientUnaryCall, "on">): Promise<CallEnd> {
    const end = await endOf(call);
    return { ...end, response: await this.#answer.promise };
  }
}

function answersOf(call: ClientReadableStream<object> | ClientDuplexStream<object, object>): Answers {
  // The status says what the error says.
  call.on("error", () => {});
  const messages = call[Symbol.asyncIterator]();
  return {
    next: async () => {
      try {
        const { done, value } = await messages.next();
        return done === true ? undefined : value;
      } catch {
        return undefined;
      }
    },
    cancel: () => call.cancel(),
    ended: endOf(call),
  };
}

function endOf(call: Pick<ClientUnaryCall, "on">): Promise<CallEnd> {
  let header = new Metadata();
  call.on("metadata", (metadata: Metadata) => {
    header = metadata;
  });
  return new Promise((resolve) => {
    call.on("status", ({ code, details, metadata }: StatusObject) =>
      resolve({ status: status[code], details, header, trailer: metadata, response: undefined }),
    );
  });
}
