import { once } from "node:events";
import type { Duplex } from "node:stream";
import { expect, it } from "vitest";
import { fakeClock } from "../../../test/fakes/fake-clock.ts";
import { CoarseTimer } from "../coarse-timer.ts";
import { type ForwardedRequest, type Forwarding, plainEnd, tunnelOpened } from "../forwarding/index.ts";
import { headerField } from "../http2/index.ts";
import { openTunnelStream } from "./tunnel-stream.ts";

const nothing = Buffer.alloc(0);

/** The other end of a tunnel, which a test plays. */
class FarEnd implements Forwarding {
  readonly status = 0;
  readonly responseBytes = 0;
  readonly got: Buffer[] = [];
  hasEnded = false;
  drains = 0;
  isAborted = false;
  readonly asked: ForwardedRequest;

  constructor(asked: ForwardedRequest) {
    this.asked = asked;
  }

  get client(): ForwardedRequest["client"] {
    return this.asked.client;
  }

  open(): void {
    this.client.writeHead(tunnelOpened, nothing, undefined);
    this.client.onBodyWanted();
  }

  start(): void {}

  onBody(body: Buffer, end: unknown): void {
    if (body.length > 0) this.got.push(body);
    if (end !== undefined) this.hasEnded = true;
  }

  clientDrained(): void {
    this.drains += 1;
  }

  fail(): void {}

  abort(): void {
    this.isAborted = true;
  }

  onDeadline(): void {}
}

interface Ask {
  readonly far: FarEnd;
  readonly opened: ReturnType<typeof openTunnelStream>;
}

function ask(signal = new AbortController().signal): Ask {
  const ends: FarEnd[] = [];
  const upstream = {
    begin: (request: ForwardedRequest) => {
      const end = new FarEnd(request);
      ends.push(end);
      return end;
    },
  };
  const way = { upstream, timer: new CoarseTimer(fakeClock()), attempts: { tried: [], coverResets: true } };
  const opened = openTunnelStream("10.0.0.1:7443", way, signal);
  const [far] = ends;
  if (far === undefined) throw new Error("nobody was asked");
  return { far, opened };
}

async function open(): Promise<{ far: FarEnd; stream: Duplex }> {
  const { far, opened } = ask();
  far.open();
  const result = await opened;
  if (!result.ok) throw new Error(result.reason);
  return { far, stream: result.value };
}

it("asks for a tunnel to the address and answers once it is there", async () => {
  const { far, stream } = await open();
  stream.write("from here");
  far.client.write(Buffer.from("from there"), undefined);
  const [chunk]: Buffer[] = await once(stream, "data");

  expect([far.asked.request.tunnel, far.asked.request.target]).toEqual(["connect", "10.0.0.1:7443"]);
  expect(Buffer.concat(far.got).toString()).toBe("from here");
  expect(chunk?.toString()).toBe("from there");
});

it("lets nobody write more than the other end takes", async () => {
  const { far, stream } = await open();
  far.client.pauseBody();
  const chunk = Buffer.alloc(16 * 1024);
  let written = 0;
  while (stream.write(chunk) && written < 100) written += 1;
  expect(written).toBeLessThan(10);
  expect(far.got).toEqual([]);

  const drained = once(stream, "drain");
  far.client.onBodyWanted();
  await drained;

  expect(far.got.length).toBeGreaterThan(written);
});

it("asks the other end to wait while nobody reads, and tells it when somebody has", async () => {
  const { far, stream } = await open();
  const chunk = Buffer.alloc(16 * 1024);
  let taken = 0;
  while (far.client.write(chunk, undefined) && taken < 100) taken += 1;
  expect(taken).toBeLessThan(10);
  expect(far.drains).toBe(0);

  stream.resume();
  await new Promise(setImmediate);

  expect(far.drains).toBe(1);
});

it("keeps what it is given, though the bytes are overwritten then", async () => {
  const { far, stream } = await open();
  const window = Buffer.from("first");
  far.client.write(window, undefined);
  window.fill("x");

  const [chunk]: Buffer[] = await once(stream, "data");
  expect(chunk?.toString()).toBe("first");
});

it("passes each end on by itself", async () => {
  const { far, stream } = await open();
  stream.end("last");
  await new Promise(setImmediate);
  expect([Buffer.concat(far.got).toString(), far.hasEnded, stream.readableEnded]).toEqual([
    "last",
    true,
    false,
  ]);

  far.client.write(Buffer.from("and theirs"), undefined);
  far.client.write(nothing, plainEnd);
  far.client.onResponded();
  stream.resume();
  await once(stream, "end");
  expect(far.isAborted).toBe(false);
});

it("breaks the tunnel with the stream, and the stream with the tunnel", async () => {
  const one = await open();
  one.stream.destroy();
  await once(one.stream, "close");
  expect(one.far.isAborted).toBe(true);

  const other = await open();
  const closed = new Promise((resolve) => {
    other.stream.once("close", resolve);
  });
  other.far.client.onFailed("upstream-reset", "gone", "answering");
  await closed;
  expect([other.stream.destroyed, other.far.isAborted]).toEqual([true, false]);
});

it("says why there is no tunnel: what the router says, or that it could not be asked", async () => {
  const refused = ask();
  const fields = [headerField(":status", "403")];
  const body = Buffer.from(JSON.stringify({ reason: "other-zone", detail: "it is elsewhere" }));
  refused.far.client.writeHead({ fields, status: 403, contentLength: undefined }, body, plainEnd);
  refused.far.client.onResponded();
  const unreachable = ask();
  unreachable.far.client.onFailed("upstream-connect-failed", "ECONNREFUSED", "unsent");
  const givenUp = new AbortController();
  const late = ask(givenUp.signal);
  givenUp.abort();

  expect(await refused.opened).toEqual({
    ok: false,
    reason: "router-refused",
    detail: "other-zone: it is elsewhere",
  });
  expect(await unreachable.opened).toMatchObject({
    ok: false,
    reason: "router-unreachable",
    detail: "upstream-connect-failed: ECONNREFUSED",
  });
  expect(await late.opened).toMatchObject({ ok: false, reason: "router-unreachable" });
  expect(late.far.isAborted).toBe(true);
});
