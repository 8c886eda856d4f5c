import type { Edge, Http1Ground } from "../../apparatus/http1-ground.ts";
import type { Field, ReadRequest } from "../../apparatus/http1-reading.ts";
import { finalStatuses, piecesOf, type RawAnswer, sendRaw } from "../../apparatus/raw-http1.ts";
import { type CorpusRow, type Expected, host, type Reached } from "./corpus-row.ts";

/** A harmless request behind each row: it is answered where the row's end is known, and read by nobody otherwise. */
const marker = `GET /marker HTTP/1.1\r\nHost: ${host}\r\nConnection: close\r\n\r\n`;
const markerReached: Reached = { target: "/marker" };
const waitMillisMax = 4_000;
/** Long rows come in larger pieces, so that they do not take long. */
const piecesMax = 500;

/** How a row is sent. */
export interface Sending {
  readonly edge: Edge;
  /** Bytes in a piece, at least; everything at once unless given. */
  readonly pieceBytes?: number;
}

/** Sends a row and a marker behind it; answers with everything in which it was not treated as it has to be. */
export async function judgeRow(ground: Http1Ground, row: CorpusRow, sending: Sending): Promise<string[]> {
  const { app } = ground;
  const from = app.requests.length;
  app.during = row.name;
  const bytes = row.bytes + marker;
  const pieces =
    sending.pieceBytes === undefined
      ? [bytes]
      : piecesOf(bytes, Math.max(sending.pieceBytes, bytes.length / piecesMax));
  const answer = await sendRaw(ground.at(sending.edge), { pieces, isEnded: false, waitMillisMax });
  const seen = app.requests.slice(from).map(({ read }) => read());
  return complaints(row.expected, { answer, seen, callerId: ground.callerId });
}

interface Outcome {
  readonly answer: RawAnswer;
  readonly seen: readonly ReadRequest[];
  readonly callerId: string;
}

function complaints(expected: Expected, outcome: Outcome): string[] {
  const ways = waysOf(expected).map((way) => complaintsOf(way, outcome));
  return ways.find((wrong) => wrong.length === 0) ?? ways[0] ?? [];
}

/** One way in which a row may be treated. */
interface Way {
  readonly reached: readonly Reached[];
  /** For each final answer, in order, the statuses that it may have. */
  readonly statuses: readonly (readonly number[])[];
  readonly mayBegin: boolean;
}

function waysOf(expected: Expected): Way[] {
  const fine = ({ length }: readonly Reached[]): number[][] => Array.from({ length }, () => [200]);
  switch (expected.kind) {
    case "refused": {
      const { after = [], statuses, mayBegin = false, mayBeSilent = false } = expected;
      const silent: Way = { reached: after, statuses: fine(after), mayBegin };
      const answered = { ...silent, statuses: [...silent.statuses, statuses] };
      return mayBeSilent ? [answered, silent] : [answered];
    }
    case "answered": {
      const closed: Way = { reached: [], statuses: [[expected.status]], mayBegin: false };
      const goneOn = { ...closed, reached: [markerReached], statuses: [...closed.statuses, [200]] };
      return expected.afterwards === "either" ? [goneOn, closed] : [goneOn];
    }
    case "reached": {
      const reached = expected.afterwards === "continues" ? [...expected.as, markerReached] : expected.as;
      return [{ reached, statuses: fine(reached), mayBegin: false }];
    }
  }
}

function complaintsOf(way: Way, { answer, seen, callerId }: Outcome): string[] {
  const wrong: string[] = [];
  const statuses = finalStatuses(answer.text);
  const isAnswered =
    statuses.length === way.statuses.length &&
    statuses.every((status, place) => way.statuses[place]?.includes(status) === true);
  if (!isAnswered)
    wrong.push(`answered ${statuses.join(", ") || "nothing"}: ${JSON.stringify(answer.text.slice(0, 120))}`);
  if (answer.end === "open") wrong.push("still open");
  const whole = seen.filter(({ isWhole }) => isWhole);
  if (whole.length < seen.length && !way.mayBegin)
    wrong.push(`the application saw the begin of ${seen.length - whole.length}`);
  const got = whole.map((read) => whatReached(read, callerId));
  const meant = way.reached.map(inFull);
  if (JSON.stringify(got) !== JSON.stringify(meant))
    wrong.push(`the application got ${JSON.stringify(got)} instead of ${JSON.stringify(meant)}`);
  return wrong;
}

type Whole = readonly [string, string, string, readonly Field[], string, readonly Field[]];

function inFull(reached: Reached): Whole {
  const { method = "GET", target = "/row", headers = [], body = "", trailers = [] } = reached;
  return [method, target, reached.host ?? host, headers, body, trailers];
}

/** Without the two lines that the sidecar has to add; where one is not right, it stays and is complained of. */
function whatReached(read: ReadRequest, callerId: string): Whole {
  const caller = new URL(callerId).pathname.slice(1).replaceAll("/", ".");
  const added: readonly (readonly [string, RegExp | string])[] = [
    [certificateName, new RegExp(`^Hash=[0-9a-f]{64};URI=${RegExp.escape(callerId)}$`)],
    [forwardedName, `for=_${caller};host="${read.host}";proto=http`],
  ];
  let shown = read.headers.filter(([name]) => name !== "expect");
  for (const [name, wanted] of added) {
    const values = shown.filter((field) => field[0] === name).map(([, text]) => text);
    const [value = ""] = values;
    const isRight =
      values.length === 1 && (typeof wanted === "string" ? value === wanted : wanted.test(value));
    if (isRight) shown = shown.filter((field) => field[0] !== name);
    else if (values.length === 0) shown = [...shown, [name, "is missing"]];
  }
  return [read.method, read.target, read.host, shown, read.body, read.trailers];
}

const certificateName = "x-forwarded-client-cert";
const forwardedName = "forwarded";
