import { setTimeout as sleep } from "node:timers/promises";
import type { GoHttp1Reader, ReadResponse } from "../../apparatus/go-http1-reader.ts";
import { type LlhttpAnswer, LlhttpClient, type Tape } from "../../apparatus/llhttp-client.ts";
import { finalStatuses, sendRaw } from "../../apparatus/raw-http1.ts";
import { type ScriptedApp, unscripted } from "../../apparatus/scripted-app.ts";
import type { ExpectedResponse, ResponseRow } from "./response-rows.ts";

/** Where responses come from and where they arrive. */
export interface ResponseGround {
  /** host:port of the caller's sidecar. */
  readonly address: string;
  readonly app: ScriptedApp;
  /** The service that the application is, as its callers name it. */
  readonly host: string;
  /** The second reader; without it llhttp alone judges. */
  readonly go: GoHttp1Reader | undefined;
}

/** Lets the application send a row's response; answers with everything that was not as it has to be. */
export async function judgeResponse(ground: ResponseGround, row: ResponseRow): Promise<string[]> {
  const { app, host, go } = ground;
  const target = `/row/${row.name.replace(/[^A-Za-z0-9]+/g, "-")}`;
  app.scripts.set(target, row.steps);
  using client = new LlhttpClient(ground.address);
  const body = row.method === "POST" ? "a body" : "";
  const first = await client.call({ method: row.method, target, host, body });
  if (row.pauseMillis > 0) await sleep(row.pauseMillis);
  const answers = [first];
  for (let next = 0; next < 2; next += 1)
    answers.push(await client.call({ method: "GET", target: "/next", host }));
  const wrong = complaintsOf(row.expected, first);
  for (const next of answers.slice(1))
    if ("brokenBy" in next || next.status !== 200 || next.body !== unscripted)
      wrong.push(`a request behind it got ${JSON.stringify(next)}`);
  if ((app.asked.get(target) ?? 0) > 1 && typeof row.steps[0] === "string")
    wrong.push("the application was asked again");
  for (const { bytes } of client.tapes)
    if (framedWithoutBody.test(bytes().toString("latin1"))) wrong.push("a response without a body is framed");
  if (go !== undefined) wrong.push(...(await disagreements(go, client.tapes, answers)));
  return wrong;
}

/** A length or a coding where there can be no body (RFC 9110, 8.6; RFC 9112, 6.1). */
const framedWithoutBody =
  /HTTP\/1\.1 (?:1[0-9]{2}|204) [^\r\n]*\r\n(?:[^\r\n]+\r\n)*(?:content-length|transfer-encoding):/i;

/** Answers before the body is there, which goes on with what looks like a request (RFC 9112, 9.3). */
export async function judgeEarlyAnswer({ address, app, host }: ResponseGround): Promise<string[]> {
  const rest = `GET /smuggled HTTP/1.1\r\nHost: ${host}\r\n\r\n`;
  const head = `POST /early HTTP/1.1\r\nHost: ${host}\r\nContent-Length: ${3 + rest.length}\r\n\r\nabc`;
  const behind = `GET /behind HTTP/1.1\r\nHost: ${host}\r\nConnection: close\r\n\r\n`;
  const sending = { pieces: [head, rest, behind], isEnded: false, waitMillisMax: 4_000, pauseMillis: 60 };
  const { text, end } = await sendRaw({ address }, sending);
  const statuses = finalStatuses(text).join();
  // Where the rest is still taken as a body, there may be a request behind it.
  const isAnswered = statuses === "200" || (statuses === "200,200" && app.asked.has("/behind"));
  const wrong = isAnswered && end !== "open" ? [] : [`an early answer: ${statuses}, ${end}`];
  return app.asked.has("/smuggled") ? [...wrong, "the rest of a body was read as a request"] : wrong;
}

function complaintsOf(expected: ExpectedResponse, got: LlhttpAnswer): string[] {
  const isBroken = "brokenBy" in got || !got.isWhole;
  if (expected.kind === "refused") {
    const isRefused = isBroken
      ? expected.mayBegin
      : got.status === 502 && got.body.includes("urn:troth:problem:");
    return isRefused ? [] : [`the client got ${JSON.stringify(got)}`];
  }
  if (isBroken) return [`the client got ${JSON.stringify(got)}`];
  const { status, headers, body, trailers } = expected;
  const meant = JSON.stringify([status, headers, body, trailers]);
  const seen = JSON.stringify([got.status, got.headers, got.body, got.trailers]);
  return seen === meant ? [] : [`the client got ${seen} instead of ${meant}`];
}

/** Where Go's client takes something else from the same bytes than llhttp's did. */
export async function disagreements(
  go: GoHttp1Reader,
  tapes: readonly Tape[],
  answers: readonly LlhttpAnswer[],
): Promise<string[]> {
  const wrong: string[] = [];
  const read: ReadResponse[] = [];
  for (const { bytes, methods } of tapes) {
    const { messages, isRefused } = await go.responsesIn(bytes(), methods);
    if (isRefused) wrong.push(`Go refuses ${JSON.stringify(bytes().toString("latin1").slice(0, 300))}`);
    read.push(...messages);
  }
  const whole = (message: ReadResponse): string =>
    JSON.stringify([message.status, message.body, message.trailers, fieldsBesides(message)]);
  const ours = answers.flatMap((answer) => ("brokenBy" in answer || !answer.isWhole ? [] : [whole(answer)]));
  const theirs = read.filter(({ isWhole }) => isWhole).map(whole);
  if (ours.join() !== theirs.join()) wrong.push(`llhttp reads ${ours.join()} and Go ${theirs.join()}`);
  return wrong;
}

/** What one of the two takes off, and the other does not show. */
function fieldsBesides({ headers }: ReadResponse): unknown {
  return headers.filter(([name]) => !["connection", "keep-alive", "trailer"].includes(name));
}
