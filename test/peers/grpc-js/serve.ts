import { setTimeout as sleep } from "node:timers/promises";
import {
  Metadata,
  Server,
  ServerCredentials,
  type ServerDuplexStream,
  type ServerReadableStream,
  type ServerUnaryCall,
  type ServerWritableStream,
  type sendUnaryData,
} from "@grpc/grpc-js";
import { type EchoStatus, echoedMetadata, messages, payloadOf, testService } from "./test-service.ts";

// gRPC's interop service by @grpc/grpc-js, on 127.0.0.1 at the port in PORT; it prints a line for each call's beginning
// and end, as its counterpart in Go does.

type Unary = ServerUnaryCall<object, object>;
type Input = ServerReadableStream<object, object>;
type Output = ServerWritableStream<object, object>;
type Duplex = ServerDuplexStream<object, object>;
/** What all of them have. */
type Call = Pick<Unary, "getPath" | "getDeadline" | "metadata" | "cancelled" | "sendMetadata"> & {
  readonly on: (event: "cancelled", listener: () => void) => unknown;
};
/** The error that a call ends with. */
type Failure = { readonly code: number; readonly details: string };

const { UnimplementedCall: _, ...implemented } = testService;
const server = new Server();
server.addService(implemented, {
  EmptyCall: (call: Unary, answer: sendUnaryData<object>) => {
    const told = begin(call);
    told(0);
    answer(null, {}, echoed(call));
  },
  UnaryCall: unaryCall,
  StreamingOutputCall: (call: Output) => void streamingOutputCall(call),
  StreamingInputCall: (call: Input, answer: sendUnaryData<object>) => void streamingInputCall(call, answer),
  FullDuplexCall: (call: Duplex) => void fullDuplexCall(call),
});
server.bindAsync(`127.0.0.1:${process.env["PORT"]}`, ServerCredentials.createInsecure(), (error) => {
  if (error !== null) throw error;
  process.stdout.write("ready\n");
});
process.once("SIGTERM", () => server.forceShutdown());

function unaryCall(call: Unary, answer: sendUnaryData<object>): void {
  const told = begin(call);
  const { responseSize, responseStatus } = messages.simpleRequest.parse(call.request);
  const failure = failureOf(responseStatus);
  const metadata = echoed(call);
  told(failure?.code ?? 0);
  if (failure === undefined) answer(null, payloadOf(responseSize), metadata);
  else answer({ ...failure, metadata });
}

async function streamingOutputCall(call: Output): Promise<void> {
  const told = begin(call);
  const metadata = echoed(call);
  endWith(call, { failure: await sendAll(call, call.request), metadata, told });
}

async function streamingInputCall(call: Input, answer: sendUnaryData<object>): Promise<void> {
  const told = begin(call);
  const metadata = echoed(call);
  let aggregatedPayloadSize = 0;
  const isWhole = await eachOf(call, (request) => {
    aggregatedPayloadSize += messages.inputRequest.parse(request).payload?.body.length ?? 0;
    return true;
  });
  if (!isWhole) return;
  told(0);
  answer(null, { aggregatedPayloadSize }, metadata);
}

async function fullDuplexCall(call: Duplex): Promise<void> {
  const told = begin(call);
  const metadata = echoed(call);
  let failure: Failure | undefined;
  const isWhole = await eachOf(call, async (request) => {
    failure = await sendAll(call, request);
    return failure === undefined;
  });
  if (isWhole || failure !== undefined) endWith(call, { failure, metadata, told });
}

/** Prints that a call has begun; what it returns prints its end, unless it was cancelled before. */
function begin(call: Call): (code: number) => void {
  const deadline = Number(call.getDeadline());
  const left = deadline === Number.POSITIVE_INFINITY ? "none" : String(Math.round(deadline - Date.now()));
  process.stdout.write(`begin ${call.getPath()} ${left}\n`);
  let hasEnded = false;
  call.on("cancelled", () => {
    // It comes for calls that ended well, too.
    if (!hasEnded) process.stdout.write(`cancelled ${call.getPath()}\n`);
  });
  return (code) => {
    hasEnded = true;
    if (!call.cancelled) process.stdout.write(`end ${call.getPath()} ${code}\n`);
  };
}

/** Sends the metadata that is to come back before the messages; what is to come back after them. */
function echoed(call: Call): Metadata {
  const metadata = { initial: new Metadata(), trailing: new Metadata() };
  for (const when of ["initial", "trailing"] as const)
    for (const value of call.metadata.get(echoedMetadata[when]))
      metadata[when].add(echoedMetadata[when], value);
  // Without any, an error is an answer of trailers alone.
  if (call.metadata.get(echoedMetadata.initial).length > 0) call.sendMetadata(metadata.initial);
  return metadata.trailing;
}

function failureOf(status: EchoStatus): Failure | undefined {
  return status === null || status.code === 0 ? undefined : { code: status.code, details: status.message };
}

/** Sends what a message asks for, each part after its pause; the error that it asks for instead. */
async function sendAll(call: Output | Duplex, request: object): Promise<Failure | undefined> {
  const { responseParameters, responseStatus } = messages.outputRequest.parse(request);
  const failure = failureOf(responseStatus);
  if (failure !== undefined) return failure;
  for (const { size, intervalUs } of responseParameters) {
    if (intervalUs > 0) await sleep(intervalUs / 1_000);
    if (call.cancelled) return undefined;
    call.write(payloadOf(size));
  }
  return undefined;
}

function endWith(
  call: Output | Duplex,
  end: {
    readonly failure: Failure | undefined;
    readonly metadata: Metadata;
    readonly told: (code: number) => void;
  },
): void {
  const { failure, metadata, told } = end;
  told(failure?.code ?? 0);
  if (failure === undefined) call.end(metadata);
  else call.emit("error", { ...failure, metadata });
}

/** Takes one message after the other until one says false; whether the caller has sent all and none did. */
async function eachOf(
  call: Input | Duplex,
  take: (message: object) => Promise<boolean> | boolean,
): Promise<boolean> {
  try {
    // The end of the requests is not the end of the answers.
    for await (const message of call.iterator({ destroyOnReturn: false }))
      if (!(await take(message))) return false;
    return true;
  } catch {
    // The caller is gone, or has cancelled.
    return false;
  }
}
