import { bytesOf } from "../../base/bytes.ts";
import { headerLines } from "../http1/index.ts";
import { undeliveredLine } from "./undelivered.ts";

/** An answer that comes from the proxy itself. */
export interface Answer {
  readonly kind: "answer";
  readonly status: number;
  /** Header lines as `headerLines` makes them; without framing and `Connection`, which are added. */
  readonly headers: Uint8Array;
  readonly body: Uint8Array;
  /** The gist of it in one line, for protocols without a place for the body. */
  readonly summary: string;
  /** Whether it says that no application has been given the request (undelivered.ts). */
  readonly isUndelivered?: boolean;
  /** What the proxy that asked is told besides, as lines of the head; also among the headers. */
  readonly proxyLines?: ProxyLines;
  /** Whether it says that the time that the request had is over. */
  readonly isOverdue?: boolean;
  /** Whether the connection ends with it. */
  readonly close?: boolean;
}

/** Header lines for proxies, whose names begin with `troth-`: none passes them on. */
export type ProxyLines = readonly (readonly [name: string, value: string])[];

/** Why a request gets an error instead of the response it asked for. */
export interface Problem {
  readonly status: number;
  /** A kebab-case reason from a closed set. */
  readonly reason: string;
  /** The particulars, for people; never a secret. */
  readonly detail?: string;
  /** Number of the record in the audit log that says the same. */
  readonly decisionId?: string;
  /** The rule that decided; empty where none did. */
  readonly rule?: string;
  /** What would change the answer, for people. */
  readonly missing?: string;
  /** Whether the proxy that asks is told that the application has not been given the request (undelivered.ts). */
  readonly isUndelivered?: boolean;
  /** What the proxy that asks is told besides. */
  readonly proxyLines?: ProxyLines;
  /** Whether the connection ends with the answer, as it must where the end of the request is in doubt. */
  readonly close?: boolean;
}

/** Who is told: `member` is of this trust domain, a `stranger` is not and learns nothing but the number to quote. */
export type ProblemAudience = "member" | "stranger";

/** An error answer as `application/problem+json` (RFC 9457), with extension members for what the caller may know. */
export function problemAnswer(problem: Problem, audience: ProblemAudience = "member"): Answer {
  const document = audience === "member" ? wholeProblem(problem) : bareProblem(problem);
  return {
    kind: "answer",
    status: problem.status,
    headers: headersOf(problem),
    body: bytesOf(`${JSON.stringify(document)}\n`),
    summary: audience === "member" ? wholeSummary(problem) : bareSummary(problem),
    isUndelivered: problem.isUndelivered ?? false,
    proxyLines: problem.proxyLines ?? noLines,
    isOverdue: problem.reason === "request-timeout",
    close: problem.close ?? false,
  };
}

function headersOf({ reason, isUndelivered, proxyLines = noLines }: Problem): Uint8Array {
  const headers = passingReasons.has(reason) ? passingHeaders : problemHeaders;
  if (proxyLines.length > 0) return Buffer.concat([headers, headerLines(proxyLines)]);
  return isUndelivered === true ? Buffer.concat([headers, undeliveredLine]) : headers;
}

function wholeProblem({ status, reason, detail = "", decisionId, rule, missing }: Problem): object {
  return {
    type: `urn:troth:problem:${reason}`,
    title: phraseOf(status),
    status,
    detail: detail === "" ? reason.replaceAll("-", " ") : detail,
    reason,
    ...(decisionId === undefined ? {} : { decisionId }),
    ...(rule === undefined || rule === "" ? {} : { rule }),
    ...(missing === undefined ? {} : { missing }),
  };
}

function wholeSummary({ reason, detail = "", decisionId }: Problem): string {
  const why = detail === "" ? reason : `${reason}: ${detail}`;
  return decisionId === undefined ? why : `${why} (decision ${decisionId})`;
}

function bareSummary({ decisionId }: Problem): string {
  return decisionId === undefined ? "" : `decision ${decisionId}`;
}

function bareProblem({ status, decisionId }: Problem): object {
  return { status, ...(decisionId === undefined ? {} : { decisionId }) };
}

const problemHeaders = headerLines([
  ["Content-Type", "application/problem+json"],
  ["Cache-Control", "no-store"],
]);

/** What is too much at once will not be for long. */
const passingReasons: ReadonlySet<string> = new Set(["overloaded"]);
const passingHeaders = Buffer.concat([problemHeaders, headerLines([["Retry-After", "1"]])]);

const phrases: Readonly<Record<number, string>> = {
  200: "OK",
  204: "No Content",
  304: "Not Modified",
  308: "Permanent Redirect",
  400: "Bad Request",
  401: "Unauthorized",
  403: "Forbidden",
  404: "Not Found",
  408: "Request Timeout",
  413: "Content Too Large",
  414: "URI Too Long",
  417: "Expectation Failed",
  421: "Misdirected Request",
  429: "Too Many Requests",
  431: "Request Header Fields Too Large",
  500: "Internal Server Error",
  501: "Not Implemented",
  502: "Bad Gateway",
  503: "Service Unavailable",
  504: "Gateway Timeout",
  505: "HTTP Version Not Supported",
};

/** The reason phrase of the statuses that the proxy answers with, empty for others. */
export function phraseOf(status: number): string {
  return phrases[status] ?? "";
}

/** The bytes of an answer; to a HEAD request without its body (RFC 9110, 9.3.2). */
export function serialiseAnswer(answer: Answer, isHead: boolean, close: boolean): Buffer {
  const hasNoBody = answer.status === 204 || answer.status === 304;
  const start =
    `HTTP/1.1 ${answer.status} ${phraseOf(answer.status)}\r\n` +
    (hasNoBody ? "" : `Content-Length: ${answer.body.length}\r\n`) +
    (close ? "Connection: close\r\n" : "");
  const body = hasNoBody || isHead ? nothing : answer.body;
  return Buffer.concat([Buffer.from(start, "latin1"), answer.headers, lineEnd, body]);
}

const noLines: ProxyLines = [];
const nothing = new Uint8Array(0);
const lineEnd = bytesOf("\r\n");
