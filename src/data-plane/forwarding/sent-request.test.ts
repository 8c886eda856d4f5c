import type { Socket } from "node:net";
import { expect, test } from "vitest";
import { RawClient, until } from "../../../test/fuzz/http1-hop.ts";
import { fieldsOf } from "../../../test/fuzz/http2-peers.ts";
import { openLinkHop } from "../../../test/fuzz/link-hop.ts";
import { CoarseTimer } from "../coarse-timer.ts";
import { attachSocket, type Http2Stream, ServerSession, type StreamHandler } from "../http2/index.ts";
import type { OutcomeObserver } from "./index.ts";

const get = "GET /a HTTP/1.1\r\nHost: a\r\n\r\n";
const call = "POST /a HTTP/1.1\r\nHost: a\r\nContent-Type: application/grpc\r\nContent-Length: 0\r\n\r\n";

type Answer = (stream: Http2Stream) => void;
const status =
  (code: string): Answer =>
  (stream) =>
    stream.sendHead(fieldsOf([":status", code]), true);
const grpc =
  (...trailers: readonly string[]): Answer =>
  (stream) => {
    stream.sendHead(fieldsOf([":status", "200"], ["content-type", "application/grpc"]), false);
    stream.sendTrailers(fieldsOf(...trailers.map((value) => ["grpc-status", value] as const)));
  };
const reset =
  (code: number): Answer =>
  (stream) =>
    stream.reset(code);

test.each<[string, string, Answer, readonly string[]]>([
  ["204 is well", get, status("204"), ["heard", "ended well"]],
  ["500 is no failure of the instance", get, status("500"), ["heard", "ended well"]],
  ["502 is a failure", get, status("502"), ["ended 502"]],
  ["503 is a failure", get, status("503"), ["ended 503"]],
  ["504 is a failure", get, status("504"), ["ended 504"]],
  ["a reset is a failure", get, reset(2), ["ended reset"]],
  ["a stream that nobody looked at is none", get, reset(7), []],
  ["a call that ends well is well", call, grpc("0"), ["heard", "ended well"]],
  ["a call that fails by itself is well", call, grpc("5"), ["heard", "ended well"]],
  ["UNAVAILABLE in trailers is a failure", call, grpc("14"), ["heard", "ended grpc-unavailable"]],
  [
    "UNAVAILABLE instead of an answer is a failure",
    call,
    (stream) => stream.sendHead(fieldsOf([":status", "200"], ["grpc-status", "14"]), true),
    ["ended grpc-unavailable"],
  ],
])("%s", async (_, request, answer, expected) => {
  const { told, observer } = recording();
  await using hop = await openLinkHop(1, { outcomes: observer, serve: serving(answer) });
  using client = new RawClient(hop.port).send(request);
  await until(() => client.text.startsWith("HTTP/1.1 "));
  await until(() => hop.outer.length === 1);

  expect(told).toEqual(expected);
});

test("an instance that does not answer in time has failed", async () => {
  const { told, observer } = recording();
  const seen: Http2Stream[] = [];
  const serve = serving((stream) => seen.push(stream));
  await using hop = await openLinkHop(1, { outcomes: observer, serve });
  using client = new RawClient(hop.port).send(get);
  await until(() => seen.length === 1);
  hop.passSeconds(3600);
  await until(() => client.text.startsWith("HTTP/1.1 504"));

  expect(told).toEqual(["ended timeout"]);
});

test("a request whose client has gone says no more than how long it waited", async () => {
  const { told, observer } = recording();
  const seen: Http2Stream[] = [];
  const serve = serving((stream) => seen.push(stream));
  await using hop = await openLinkHop(1, { outcomes: observer, serve });
  using _client = new RawClient(hop.port).send(get);
  await until(() => seen.length === 1);
  hop.clientSockets[0]?.destroy();
  await until(() => told.length === 1);

  expect(told).toEqual(["abandoned"]);
});

function recording(): { readonly told: string[]; readonly observer: OutcomeObserver } {
  const told: string[] = [];
  const observer: OutcomeObserver = {
    sent: () => 7,
    heard: (_, sent) => told.push(sent === 7 ? "heard" : "heard of another"),
    ended: (_, sent, failure) => told.push(sent === 7 ? `ended ${failure ?? "well"}` : "end of another"),
    abandoned: () => told.push("abandoned"),
  };
  return { told, observer };
}

/** A peer that answers every request once it is whole. */
function serving(answer: Answer): (socket: Socket) => void {
  return (socket) => {
    const timer = new CoarseTimer({ nowSeconds: () => 0, monotonicMillis: () => 0 });
    const onRequest = (stream: Http2Stream): StreamHandler => ({
      onData: () => {},
      onEnd: () => answer(stream),
      onReset: () => {},
      onWritable: () => {},
      onDeadline: () => {},
    });
    attachSocket(
      socket,
      new ServerSession({ onRequest }, { transport: socket, timer, schedule: setImmediate }),
    );
  };
}
