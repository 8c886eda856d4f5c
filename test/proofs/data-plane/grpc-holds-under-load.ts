import { createHash, randomBytes, randomInt } from "node:crypto";
import { missingForGoPeer } from "../../apparatus/go-peer.ts";
import { type GrpcMesh, grpcMesh, openEcho } from "../../apparatus/grpc-mesh.ts";
import { bytesOf, echoService } from "../../peers/grpc-js/echo-service.ts";
import { type GrpcTarget, InteropClient } from "../../peers/grpc-js/interop-client.ts";
import { type Claim, failed, ok, skipped } from "../claim.ts";

const streamsAtOnce = 200;
const messagesEach = 20;
const messageBytesMax = 60_000;
const largeBytes = 16 * 1024 * 1024;
const stalledMessages = 200;
const stalledMessageBytes = 100_000;
const callsBesideStalled = 100;
const narrowStreamsMax = 2;
const streamsThroughNarrow = 50;
const shortAgeMillis = 300;
const agingMillis = 3_000;
const lanes = 8;
/** Of a stream; a busy machine needs its time. */
const deadlineMillis = 120_000;

/** What the application sends back is compared byte for byte. */
export const claim: Claim = {
  text: "gRPC streams by the hundred on one connection pass byte for byte; a stalled one stalls no other; an application that takes few streams, or ends its connections often, loses no call",
  limitSeconds: 600,
  uses: [grpcMesh],
  run: async () => {
    const missing = missingForGoPeer("grpc-interop");
    if (missing !== undefined) return skipped(missing);
    const mesh = await grpcMesh.get();
    const figures: string[] = [];
    for (const observe of [wide, narrow, aging]) {
      const { complaints, figure } = await observe(mesh);
      if (complaints.length > 0)
        return failed(`${figure}; ${complaints.length} went wrong, the first: ${complaints[0]}`);
      figures.push(figure);
    }
    return ok(figures.join("; "));
  },
};

interface Observation {
  readonly complaints: readonly string[];
  readonly figure: string;
}

/** Many streams at once, a large message, and calls beside a stream that nobody reads. */
async function wide(mesh: GrpcMesh): Promise<Observation> {
  await using echo = await openEcho(mesh, "echo");
  using client = new InteropClient(echo.target);
  const started = performance.now();
  const streams = Array.from({ length: streamsAtOnce }, () => randomStream(client, messagesEach));
  const complaints = await complaintsOf(streams);
  const seconds = (performance.now() - started) / 1000;
  const large = await complaintsOf([echoed(client, largeBytes)]);

  const stalled = client.duplex(echoService.Duplex);
  for (let sent = 0; sent < stalledMessages; sent += 1) stalled.send(Buffer.alloc(stalledMessageBytes));
  const beside: string[] = [];
  for (let call = 0; call < callsBesideStalled; call += 1)
    beside.push(...(await complaintsOf([echoed(client, messageBytesMax)])));
  stalled.cancel();
  await stalled.ended;
  return {
    complaints: [...complaints, ...large, ...beside],
    figure: `${streamsAtOnce} streams at once in ${seconds.toFixed(1)} s, a message of 16 MiB, ${callsBesideStalled} calls beside a stalled stream`,
  };
}

/** More streams at once than the application takes wait for their turn. */
async function narrow(mesh: GrpcMesh): Promise<Observation> {
  await using echo = await openEcho(mesh, "narrow", "--streams-max", String(narrowStreamsMax));
  using client = new InteropClient(echo.target);
  const streams = Array.from({ length: streamsThroughNarrow }, () => randomStream(client, 3));
  return {
    complaints: await complaintsOf(streams),
    figure: `${streamsThroughNarrow} streams to an application that takes ${narrowStreamsMax} on a connection`,
  };
}

/** The application says goodbye on a connection and finishes what it has (RFC 9113, 6.8). */
async function aging(mesh: GrpcMesh): Promise<Observation> {
  await using echo = await openEcho(mesh, "aging", "--connection-age-millis", String(shortAgeMillis));
  let calls = 0;
  const callInTurn = async (target: GrpcTarget): Promise<string | undefined> => {
    using client = new InteropClient(target);
    for (const end = performance.now() + agingMillis; performance.now() < end; calls += 1) {
      const complaint = await echoed(client, 1_000);
      if (complaint !== undefined) return complaint;
    }
    return undefined;
  };
  const complaints = await complaintsOf(Array.from({ length: lanes }, () => callInTurn(echo.target)));
  return { complaints, figure: `${calls} calls while connections live for ${shortAgeMillis} ms` };
}

/** Sends messages of random bytes, some at once and some later; what was wrong with what came back. */
async function randomStream(client: InteropClient, messages: number): Promise<string | undefined> {
  const { send, next, finish, ended } = client.duplex(echoService.Duplex, { deadlineMillis });
  const sent = createHash("sha256");
  const received = createHash("sha256");
  const receiving = (async (): Promise<number> => {
    let count = 0;
    for (let message = await next(); message !== undefined; message = await next()) {
      received.update(bytesOf(message));
      count += 1;
    }
    return count;
  })();
  for (let message = 0; message < messages; message += 1) {
    const bytes = randomBytes(randomInt(messageBytesMax));
    sent.update(bytes);
    send(bytes);
    if (message % 5 === 0) await new Promise((resolve) => setTimeout(resolve, 1));
  }
  finish();
  const count = await receiving;
  const { status, details } = await ended;
  const isSame = sent.digest("hex") === received.digest("hex");
  return status === "OK" && isSame
    ? undefined
    : `${status} "${details}" after ${count} of ${messages} messages`;
}

async function echoed(client: InteropClient, bytes: number): Promise<string | undefined> {
  const request = randomBytes(bytes);
  const { status, details, response } = await client.unary(echoService.Unary, request);
  const isSame = response !== undefined && bytesOf(response).equals(request);
  return status === "OK" && isSame ? undefined : `a message of ${bytes} bytes: ${status} "${details}"`;
}

async function complaintsOf(running: readonly Promise<string | undefined>[]): Promise<string[]> {
  return (await Promise.all(running)).filter((complaint) => complaint !== undefined);
}
