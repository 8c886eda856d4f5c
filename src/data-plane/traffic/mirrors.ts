import { authorityOfServiceName, parseServiceName } from "../../identity/index.ts";
import {
  type ForwardedRequest,
  type Forwarding,
  type ForwardingClient,
  mirroredLine,
  plainEnd,
  type Upstream,
} from "../forwarding/index.ts";
import type { HeadEdits } from "../http1/index.ts";
import type { TrafficCounts } from "./traffic-counts.ts";
import type { Wait, Waits } from "./waits.ts";

/** Copies that one proxy has on their way at a time; a request beyond them is not copied. */
export const mirroredInFlightMax = 64;
/** How long a copy may take. */
export const mirrorMillisMax = 10_000;
/** Bytes of the response to a copy that are read, and thrown away. */
export const mirrorResponseBytesMax = 1024 * 1024;

/** What copies of requests need of the proxy. */
export interface MirrorParts {
  /** The way to a service; undefined where nothing serves it. */
  readonly upstreamOf: (service: string) => Upstream | undefined;
  readonly waits: Waits;
  readonly counts: Pick<TrafficCounts, "mirrored">;
  readonly onFault: (fault: unknown) => void;
}

/** Sends copies of requests to other services, whose answers nobody hears. */
export class Mirrors {
  readonly #parts: MirrorParts;
  readonly #copies = new Set<MirroredCopy>();

  constructor(parts: MirrorParts) {
    this.#parts = parts;
  }

  /** Sends a copy of a request whose body is complete; never throws, and never waits. */
  send(service: string, original: Omit<ForwardedRequest, "client">): void {
    const { upstreamOf, counts, onFault } = this.#parts;
    const name = parseServiceName(service);
    const host = name.ok ? authorityOfServiceName(name.value) : undefined;
    const upstream = upstreamOf(service);
    if (upstream === undefined || host === undefined) return counts.mirrored.add("no-instances");
    if (this.#copies.size >= mirroredInFlightMax) return counts.mirrored.add("too-many");
    const copy = new MirroredCopy(this.#parts, () => this.#copies.delete(copy));
    this.#copies.add(copy);
    try {
      const { request, limits, firstBody, end, edits } = original;
      copy.start(
        upstream.begin({ client: copy, request, limits, firstBody, end, edits: mirrorEdits(edits, host) }),
      );
    } catch (fault) {
      onFault(fault);
      copy.give("failed");
    }
  }

  /** Gives up all copies. */
  close(): void {
    for (const copy of this.#copies) copy.give("failed");
  }
}

/** The whole body goes at once, so nobody needs to be asked for it. Lines that were added change with the next request. */
function mirrorEdits(edits: HeadEdits, host: string): HeadEdits {
  return {
    remove: [...edits.remove, "expect"],
    add: Buffer.concat([edits.add, mirroredLine]),
    ...(edits.target === undefined ? {} : { target: edits.target }),
    host,
  };
}

/** A copy on its way; it is its own client, which takes everything and keeps nothing. */
class MirroredCopy implements ForwardingClient, Wait {
  untilMillis: number;
  readonly #parts: MirrorParts;
  readonly #onOver: () => void;
  #forwarding: Forwarding | undefined;
  #bytes = 0;
  #isOver = false;

  constructor(parts: MirrorParts, onOver: () => void) {
    this.#parts = parts;
    this.#onOver = onOver;
    this.untilMillis = parts.waits.nowMillis + mirrorMillisMax;
    parts.waits.add(this);
  }

  start(forwarding: Forwarding): void {
    this.#forwarding = forwarding;
    forwarding.start();
  }

  /** Gives it up, whatever it has come to. */
  give(outcome: "answered" | "failed"): void {
    if (this.#isOver) return;
    this.#isOver = true;
    this.#parts.waits.remove(this);
    this.#parts.counts.mirrored.add(outcome);
    this.#onOver();
    if (outcome === "failed") this.#forwarding?.abort();
  }

  onWaited(): void {
    this.give("failed");
  }

  writeHead(_head: unknown, body: Buffer): boolean {
    return this.write(body);
  }

  write(body: Buffer): boolean {
    this.#bytes += body.length;
    if (this.#bytes > mirrorResponseBytesMax) this.give("failed");
    return true;
  }

  onResponded(): void {
    this.give("answered");
  }

  onFailed(): void {
    this.give("failed");
  }

  onBodyWanted(): void {
    this.#forwarding?.onBody(nothing, plainEnd);
  }

  pauseBody(): void {}

  waitAtMost(): void {}

  writeInterim(): void {}
}

const nothing = Buffer.alloc(0);
