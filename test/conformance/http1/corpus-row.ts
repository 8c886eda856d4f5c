import type { Field } from "../../apparatus/http1-reading.ts";

/** The service that rows are sent to, as its callers name it. */
export const host = "app.shop.mesh";

/** A request of which the application has to get exactly this; what is not said is empty. */
export interface Reached {
  readonly method?: string;
  readonly target?: string;
  readonly host?: string;
  /** By name in small letters, besides framing, `Expect` and what Troth itself adds. */
  readonly headers?: readonly Field[];
  readonly body?: string;
  readonly trailers?: readonly Field[];
}

/** What has to become of a row. */
export type Expected =
  | {
      /** One of these statuses is the last answer, the connection closes, and nothing behind it is read. */
      readonly kind: "refused";
      readonly statuses: readonly number[];
      /** Requests in front of it that are in order. */
      readonly after?: readonly Reached[];
      /** Whether the application may have seen the begin of it, but never its end. */
      readonly mayBegin?: boolean;
      /** Whether it may be closed without an answer of HTTP/1, since it begins as another protocol does. */
      readonly mayBeSilent?: boolean;
    }
  | {
      /** The message is clear and the answer comes from the mesh itself; what is behind it is another request. */
      readonly kind: "answered";
      readonly status: number;
      /** `either` where it depends on how much of its body was there already. */
      readonly afterwards: "continues" | "either";
    }
  | {
      /** The application gets this, whatever was sent. */
      readonly kind: "reached";
      readonly as: readonly Reached[];
      /** Whether it differs from what was sent. */
      readonly isNormalised: boolean;
      readonly afterwards: "continues" | "closes";
    };

/** One raw message, why it matters how it is read, and what has to become of it. */
export interface CorpusRow {
  readonly name: string;
  readonly why: string;
  readonly rfc: string;
  /** In Latin-1. */
  readonly bytes: string;
  readonly expected: Expected;
  /** Whether it is about the edge that applications call, and not about what proxies say to each other. */
  readonly isForEdgeOnly?: boolean;
}

/** What rows have in common. */
export interface Reason {
  readonly why: string;
  readonly rfc: string;
}

/**
 * What becomes of trailers that may be sent: `refused` while no trailer is passed on, `passed` from then on. Trailers
 * that RFC 9110, 6.5.1 forbids are refused either way.
 */
export const legalTrailersAre: "refused" | "passed" = "passed";

/** Rows that are refused with one of these statuses. */
export function refused(
  reason: Reason,
  statuses: readonly number[],
  rows: readonly (readonly [name: string, bytes: string])[],
): CorpusRow[] {
  return rows.map(([name, bytes]) => ({ ...reason, name, bytes, expected: { kind: "refused", statuses } }));
}

/** Rows whose head is in order and whose body is refused. */
export function refusedBody(
  reason: Reason,
  statuses: readonly number[],
  rows: readonly (readonly [name: string, bytes: string])[],
): CorpusRow[] {
  const expected = { kind: "refused", statuses, mayBegin: true } as const;
  return rows.map(([name, bytes]) => ({ ...reason, name, bytes, expected }));
}

/** Rows that reach the application in another form than they were sent in. */
export function normalised(
  reason: Reason,
  rows: readonly (readonly [name: string, bytes: string, as: Reached])[],
): CorpusRow[] {
  return rows.map(([name, bytes, as]) => ({ ...reason, name, bytes, expected: reachedAs([as], true) }));
}

/** Rows that look odd, are in order, and reach the application as they are. */
export function passed(
  reason: Reason,
  rows: readonly (readonly [name: string, bytes: string, as: Reached])[],
): CorpusRow[] {
  return rows.map(([name, bytes, as]) => ({ ...reason, name, bytes, expected: reachedAs([as], false) }));
}

/** What has to become of a row that reaches the application. */
export function reachedAs(
  as: readonly Reached[],
  isNormalised: boolean,
  afterwards: "continues" | "closes" = "continues",
): Expected {
  return { kind: "reached", as, isNormalised, afterwards };
}

/** A GET of `/row` with more header lines. */
export function get(...headers: readonly string[]): string {
  return `GET /row HTTP/1.1\r\n${withHost(headers)}`;
}

/** A GET of a target. */
export function getOf(target: string): string {
  return `GET ${target} HTTP/1.1\r\n${withHost([])}`;
}

/** A GET with another Host line, or none. */
export function getFrom(hostLine: string): string {
  return `GET /row HTTP/1.1\r\n${hostLine}\r\n`;
}

/** A POST to `/row` with more header lines and a body that they announce. */
export function post(headers: readonly string[], body: string): string {
  return `POST /row HTTP/1.1\r\n${withHost(headers)}${body}`;
}

/** A POST to `/row` in the chunked coding. */
export function chunked(body: string): string {
  return post(["Transfer-Encoding: chunked"], body);
}

/** A POST to `/row` with a body of three bytes and one more header line that says so, in some way. */
export function sized(lengthLine: string, body = "abc"): string {
  return post([lengthLine], body);
}

/** A whole request that nobody has sent as such: wherever it is answered, somebody has been deceived. */
export const smuggled = `GET /smuggled HTTP/1.1\r\nHost: ${host}\r\n\r\n`;

function withHost(headers: readonly string[]): string {
  return `Host: ${host}\r\n${headers.map((line) => `${line}\r\n`).join("")}\r\n`;
}
