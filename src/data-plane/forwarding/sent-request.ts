import type { HeaderField, Http2ResponseHead } from "../http2/index.ts";
import type { ForwardingFailure, RequestHead } from "./forwarding.ts";
import { isGrpcRequest } from "./grpc.ts";
import type { InstanceLink } from "./instance-link.ts";
import { isGrpcUnavailable, type UnavailableStatus, unavailableStatusOf } from "./unavailable.ts";

/** What became of a request, where that speaks against the instance that it was sent to. */
export type OutcomeFailure = "reset" | "timeout" | UnavailableStatus | "grpc-unavailable";

/** Hears how requests go at the instances of a service. */
export interface OutcomeObserver {
  /** A request is being sent; answers with the moment, in milliseconds, to be handed back. */
  sent(): number;
  /** The head of an answer has come that is no failure. */
  heard(link: InstanceLink, sentMillis: number): void;
  /** It has ended as far as the instance goes, well or not. */
  ended(link: InstanceLink, sentMillis: number, failure: OutcomeFailure | undefined): void;
  /** Nobody waits for its answer any more, and none has come. */
  abandoned(link: InstanceLink, sentMillis: number): void;
}

/** One request at one instance, and whoever wants to know what becomes of it, which is told once. */
export class SentRequest {
  private readonly observer: OutcomeObserver;
  private readonly link: InstanceLink;
  private readonly sentMillis: number;
  private readonly isGrpc: boolean;
  private hasHead = false;
  private isOver = false;

  constructor(observer: OutcomeObserver, link: InstanceLink, request: RequestHead) {
    this.observer = observer;
    this.link = link;
    this.isGrpc = isGrpcRequest(request);
    this.sentMillis = observer.sent();
  }

  onHead({ status, fields }: Http2ResponseHead): void {
    if (this.isOver || this.hasHead) return;
    this.hasHead = true;
    const failure = unavailableStatusOf(status) ?? (this.isGrpc ? grpcFailureOf(fields) : undefined);
    if (failure === undefined) this.observer.heard(this.link, this.sentMillis);
    // What became of a call of gRPC stands in its trailers.
    if (failure !== undefined || !this.isGrpc) this.end(failure);
  }

  onEnd(trailers: readonly HeaderField[] | undefined): void {
    this.end(trailers === undefined ? undefined : grpcFailureOf(trailers));
  }

  onFailed(failure: ForwardingFailure): void {
    if (failure === "upstream-timeout") this.end("timeout");
    else if (failure === "upstream-reset" || failure === "upstream-malformed-response") this.end("reset");
    else this.onAbandoned();
  }

  onAbandoned(): void {
    if (!this.isOver && !this.hasHead) this.observer.abandoned(this.link, this.sentMillis);
    this.isOver = true;
  }

  private end(failure: OutcomeFailure | undefined): void {
    if (!this.isOver) this.observer.ended(this.link, this.sentMillis, failure);
    this.isOver = true;
  }
}

function grpcFailureOf(fields: readonly HeaderField[]): OutcomeFailure | undefined {
  return isGrpcUnavailable(fields) ? "grpc-unavailable" : undefined;
}
