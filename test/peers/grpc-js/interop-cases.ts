import { Metadata, status } from "@grpc/grpc-js";
import { type Answers, type CallEnd, type GrpcTarget, InteropClient } from "./interop-client.ts";
import { echoedMetadata, messages, methodOfUnknownService, payloadOf, testMethod } from "./test-service.ts";

const largeRequestBytes = 271_828;
const largeResponseBytes = 314_159;
/** What is asked for in turn, and how large the request is. */
const exchanges = [
  { requestBytes: 27_182, responseBytes: 31_415 },
  { requestBytes: 8, responseBytes: 9 },
  { requestBytes: 1_828, responseBytes: 2_653 },
  { requestBytes: 45_904, responseBytes: 58_979 },
] as const;
const shortDeadlineMillis = 1;
const plainMessage = "test status message";
const specialMessage = "\t\ntest with whitespace\r\nand Unicode BMP ☺ and non-BMP \u{1f608}\t\n";
const echoedText = "test_initial_metadata_value";
const echoedHex = "0a0b0a0b0a0b";

/** Undefined where it passes; what was seen instead where it does not. */
type InteropCase = (client: InteropClient) => Promise<string | undefined>;

const cases: ReadonlyMap<string, InteropCase> = new Map([
  ["empty_unary", emptyUnary],
  ["large_unary", largeUnary],
  ["client_streaming", clientStreaming],
  ["server_streaming", serverStreaming],
  ["ping_pong", pingPong],
  ["empty_stream", emptyStream],
  ["cancel_after_begin", cancelAfterBegin],
  ["cancel_after_first_response", cancelAfterFirstResponse],
  ["timeout_on_sleeping_server", timeoutOnSleepingServer],
  ["custom_metadata", customMetadata],
  ["status_code_and_message", statusCodeAndMessage],
  ["special_status_message", specialStatusMessage],
  ["unimplemented_method", unimplementedMethod],
  ["unimplemented_service", unimplementedService],
]);

/** gRPC's interop cases that need no cloud, by the names that all of its languages use. */
export const interopCases: readonly string[] = [...cases.keys()];

/** Runs one case by @grpc/grpc-js: undefined where it passes, what was seen instead where it does not. */
export async function callByGrpcJs(name: string, target: GrpcTarget): Promise<string | undefined> {
  const run = cases.get(name);
  if (run === undefined) throw new Error(`no case is called ${name}`);
  using client = new InteropClient(target);
  return await run(client);
}

async function emptyUnary(client: InteropClient): Promise<string | undefined> {
  const end = await client.unary(testMethod("EmptyCall"), {});
  return unless(end.status === "OK" && end.response !== undefined, end);
}

async function largeUnary(client: InteropClient): Promise<string | undefined> {
  const request = { responseSize: largeResponseBytes, ...payloadOf(largeRequestBytes) };
  const end = await client.unary(testMethod("UnaryCall"), request);
  const bytes = bytesIn(end.response);
  return unless(end.status === "OK" && bytes === largeResponseBytes, end, `${bytes} bytes`);
}

async function clientStreaming(client: InteropClient): Promise<string | undefined> {
  const { send, finish, ended } = client.clientStream(testMethod("StreamingInputCall"));
  for (const { requestBytes } of exchanges) send(payloadOf(requestBytes));
  finish();
  const end = await ended;
  const sent = exchanges.reduce((sum, { requestBytes }) => sum + requestBytes, 0);
  const counted = messages.inputResponse.safeParse(end.response).data?.aggregatedPayloadSize;
  return unless(end.status === "OK" && counted === sent, end, `counted ${counted} of ${sent} bytes`);
}

async function serverStreaming(client: InteropClient): Promise<string | undefined> {
  const request = { responseParameters: exchanges.map(({ responseBytes }) => ({ size: responseBytes })) };
  const answers = client.serverStream(testMethod("StreamingOutputCall"), request);
  const seen = await sizesOf(answers);
  const end = await answers.ended;
  const wanted = exchanges.map(({ responseBytes }) => responseBytes);
  return unless(end.status === "OK" && seen.join() === wanted.join(), end, `answers of ${seen.join()}`);
}

async function pingPong(client: InteropClient): Promise<string | undefined> {
  const { send, next, finish, ended } = client.duplex(testMethod("FullDuplexCall"));
  for (const exchange of exchanges) {
    send(askingFor(exchange));
    const bytes = bytesIn(await next());
    if (bytes !== exchange.responseBytes) return `an answer of ${bytes} bytes, not ${exchange.responseBytes}`;
  }
  finish();
  const more = await next();
  const end = await ended;
  return unless(end.status === "OK" && more === undefined, end);
}

async function emptyStream(client: InteropClient): Promise<string | undefined> {
  const stream = client.duplex(testMethod("FullDuplexCall"));
  stream.finish();
  const seen = await sizesOf(stream);
  const end = await stream.ended;
  return unless(end.status === "OK" && seen.length === 0, end, `${seen.length} answers`);
}

async function cancelAfterBegin(client: InteropClient): Promise<string | undefined> {
  const metadata = new Metadata();
  metadata.set("key1", "value1");
  const { cancel, ended } = client.clientStream(testMethod("StreamingInputCall"), { metadata });
  cancel();
  const end = await ended;
  return unless(end.status === "CANCELLED", end);
}

async function cancelAfterFirstResponse(client: InteropClient): Promise<string | undefined> {
  const [exchange] = exchanges;
  const { send, next, cancel, ended } = client.duplex(testMethod("FullDuplexCall"));
  send(askingFor(exchange));
  const bytes = bytesIn(await next());
  cancel();
  const end = await ended;
  const isFirstWhole = bytes === exchange.responseBytes;
  return unless(end.status === "CANCELLED" && isFirstWhole, end, `first answer of ${bytes} bytes`);
}

async function timeoutOnSleepingServer(client: InteropClient): Promise<string | undefined> {
  const options = { deadlineMillis: shortDeadlineMillis };
  const { send, ended } = client.duplex(testMethod("FullDuplexCall"), options);
  send(payloadOf(exchanges[0].requestBytes));
  const end = await ended;
  return unless(end.status === "DEADLINE_EXCEEDED", end);
}

async function customMetadata(client: InteropClient): Promise<string | undefined> {
  const metadata = new Metadata();
  metadata.set(echoedMetadata.initial, echoedText);
  metadata.set(echoedMetadata.trailing, Buffer.from(echoedHex, "hex"));
  const request = { responseSize: 1, ...payloadOf(1) };
  const unary = await client.unary(testMethod("UnaryCall"), request, { metadata });
  const stream = client.duplex(testMethod("FullDuplexCall"), { metadata });
  stream.send(askingFor({ requestBytes: 1, responseBytes: 1 }));
  stream.finish();
  await sizesOf(stream);
  return unlessEchoed(unary) ?? unlessEchoed(await stream.ended);
}

async function statusCodeAndMessage(client: InteropClient): Promise<string | undefined> {
  const request = { responseStatus: { code: status.UNKNOWN, message: plainMessage } };
  const unary = await client.unary(testMethod("UnaryCall"), request);
  const stream = client.duplex(testMethod("FullDuplexCall"));
  stream.send(request);
  stream.finish();
  return unlessUnknown(unary, plainMessage) ?? unlessUnknown(await stream.ended, plainMessage);
}

async function specialStatusMessage(client: InteropClient): Promise<string | undefined> {
  const request = { responseStatus: { code: status.UNKNOWN, message: specialMessage } };
  return unlessUnknown(await client.unary(testMethod("UnaryCall"), request), specialMessage);
}

async function unimplementedMethod(client: InteropClient): Promise<string | undefined> {
  const end = await client.unary(testMethod("UnimplementedCall"), {});
  return unless(end.status === "UNIMPLEMENTED", end);
}

async function unimplementedService(client: InteropClient): Promise<string | undefined> {
  const end = await client.unary(methodOfUnknownService, {});
  return unless(end.status === "UNIMPLEMENTED", end);
}

function askingFor(exchange: { readonly requestBytes: number; readonly responseBytes: number }): object {
  return {
    responseParameters: [{ size: exchange.responseBytes }],
    ...payloadOf(exchange.requestBytes),
  };
}

/** The sizes of all answers until the end. */
async function sizesOf({ next }: Answers): Promise<(number | undefined)[]> {
  const sizes: (number | undefined)[] = [];
  for (let answer = await next(); answer !== undefined; answer = await next()) sizes.push(bytesIn(answer));
  return sizes;
}

function bytesIn(response: object | undefined): number | undefined {
  return messages.response.safeParse(response).data?.payload?.body.length;
}

function unlessEchoed(end: CallEnd): string | undefined {
  const text = end.header.get(echoedMetadata.initial).join();
  const hex = end.trailer
    .get(echoedMetadata.trailing)
    .map((value) => Buffer.from(value).toString("hex"))
    .join();
  const isEchoed = text === echoedText && hex === echoedHex;
  return unless(end.status === "OK" && isEchoed, end, `echoed "${text}" and "${hex}"`);
}

function unlessUnknown(end: CallEnd, message: string): string | undefined {
  return unless(end.status === "UNKNOWN" && end.details === message, end);
}

function unless(isRight: boolean, { status: name, details }: CallEnd, seen = ""): string | undefined {
  return isRight ? undefined : `${name} ${JSON.stringify(details)} ${seen}`.trimEnd();
}
