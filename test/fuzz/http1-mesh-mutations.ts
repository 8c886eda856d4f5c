import fc from "fast-check";
import type { GoHttp1Reader } from "../apparatus/go-http1-reader.ts";
import type { Edge, Http1Ground } from "../apparatus/http1-ground.ts";
import { disagreement } from "../apparatus/http1-reading.ts";
import { finalStatuses, sendRaw } from "../apparatus/raw-http1.ts";
import { answerName } from "../apparatus/recording-app.ts";
import { bytesAwaitingRepair, isEndedClientWaitedFor } from "../conformance/http1/awaiting-repair.ts";
import { corpus } from "../conformance/http1/corpus.ts";
import { host } from "../conformance/http1/corpus-row.ts";

/** Bytes of a client of ill will, in the pieces in which they arrive; our side ends behind them. */
export interface Mutant {
  readonly edge: Edge;
  /** In Latin-1. */
  readonly pieces: readonly string[];
}

const rowBytesMax = 3_000;
const waitMillisMax = 4_000;
const rows = corpus.filter(({ bytes }) => bytes.length < rowBytesMax);
const inOrder = rows.filter(({ expected }) => expected.kind === "reached").map(({ bytes }) => bytes);
const row = fc.oneof(fc.constantFrom(...inOrder), fc.constantFrom(...rows.map(({ bytes }) => bytes)));
const nasty = fc.constantFrom(
  "\r",
  "\n",
  "\r\n",
  "\r\n\r\n",
  "\0",
  " ",
  "\t",
  ":",
  ",",
  ";",
  "0",
  "1",
  "%",
  "%2e",
  "/",
  "..",
  "#",
  "_",
  "\xa0",
  "\x0b",
  "0\r\n\r\n",
  "Content-Length: 3\r\n",
  "Transfer-Encoding: chunked\r\n",
  "Connection: close\r\n",
  "Connection: content-length\r\n",
  "Expect: 100-continue\r\n",
  "Upgrade: h2c\r\n",
  "Trailer: X\r\n",
  "X: y\r\n",
  `Host: ${host}\r\n`,
  "HTTP/1.1",
  "HTTP/1.0",
  "chunked",
  `GET /smuggled HTTP/1.1\r\nHost: ${host}\r\n\r\n`,
);
const place = fc.nat(rowBytesMax);

type Change = (text: string) => string;

/** One change to bytes in Latin-1, somewhere. */
export const change: fc.Arbitrary<Change> = fc.oneof(
  fc.tuple(place, fc.nat(7)).map(([at, bit]): Change => {
    return (text) => replaced(text, at, (byte) => String.fromCharCode(byte ^ (1 << bit)));
  }),
  fc.tuple(place, fc.nat(255)).map(([at, byte]): Change => {
    return (text) => replaced(text, at, () => String.fromCharCode(byte));
  }),
  fc.tuple(place, nasty).map(([at, insert]): Change => {
    return (text) => text.slice(0, at % (text.length + 1)) + insert + text.slice(at % (text.length + 1));
  }),
  fc.tuple(place, fc.integer({ min: 1, max: 12 })).map(([at, count]): Change => {
    return (text) => text.slice(0, at % (text.length + 1)) + text.slice((at % (text.length + 1)) + count);
  }),
  fc.tuple(fc.nat(20), fc.nat(20), fc.boolean()).map(([from, to, isMove]): Change => {
    return (text) => withLineAt(text, { from, to, isMove });
  }),
  fc.tuple(place, row).map(([at, other]): Change => {
    return (text) => text.slice(0, at % (text.length + 1)) + other.slice(at % (other.length + 1));
  }),
);

/** Rows of the corpus, alone or one behind the other, changed in a few places, with an innocent request behind them. */
export const mutant: fc.Arbitrary<Mutant> = fc
  .record({
    messages: fc.array(row, { minLength: 1, maxLength: 3 }),
    changes: fc.array(change, { maxLength: 3 }),
    cuts: fc.oneof(fc.constant([]), fc.array(fc.integer({ min: 1, max: 60 }), { maxLength: 6 })),
    edge: fc.oneof(
      { weight: 9, arbitrary: fc.constant<Edge>("outbound") },
      { weight: 1, arbitrary: fc.constant<Edge>("inbound") },
    ),
  })
  .map(({ messages, changes, cuts, edge }) => {
    let text = changes.reduce((changed, apply) => apply(changed), messages.join(""));
    text += `GET /innocent HTTP/1.1\r\nHost: ${host}\r\n\r\n`;
    const pieces: string[] = [];
    for (const cut of cuts) {
      pieces.push(text.slice(0, cut));
      text = text.slice(cut);
    }
    pieces.push(text);
    return { edge, pieces: pieces.filter(({ length }) => length > 0) };
  })
  .filter(({ pieces }) => bytesAwaitingRepair?.test(pieces.join("")) !== true);

/** What came of mutants. */
export interface Survival {
  /** What must never be. */
  readonly complaints: readonly string[];
  /** Requests that the application got. */
  readonly reached: number;
  readonly statuses: readonly number[];
}

/** The statuses with which something may be refused, 421 where it asks for a tunnel; others would be faults of ours. */
const fairStatuses = new Set([200, 400, 404, 408, 413, 414, 417, 421, 431, 501, 505]);

/**
 * Sends mutants, one after the other. Whoever answers and whoever is answered have to agree: the client gets as many
 * answers of the application as the application read requests, and Go reads the same requests as llhttp.
 */
export async function assail(
  ground: Http1Ground,
  go: GoHttp1Reader | undefined,
  mutants: readonly Mutant[],
): Promise<Survival> {
  const { app } = ground;
  const complaints: string[] = [];
  const statuses: number[] = [];
  let reached = 0;
  for (const { edge, pieces } of mutants) {
    const from = app.requests.length;
    const mayStayOpen = (): boolean =>
      isEndedClientWaitedFor && app.requests.at(-1)?.read().isWhole === false;
    const answer = await sendRaw(ground.at(edge), { pieces, isEnded: true, waitMillisMax, mayStayOpen });
    const complain = (what: string): void => {
      complaints.push(`${what} (${edge} ${JSON.stringify(pieces)})`);
    };
    if (answer.end === "open" && !mayStayOpen()) complain("the connection stays open");
    const got = finalStatuses(answer.text);
    statuses.push(...got);
    for (const status of got)
      if (!fairStatuses.has(status)) complain(`${status}: ${answer.text.slice(-300)}`);
    const whole = app.requests.slice(from).filter(({ read }) => read().isWhole);
    reached += whole.length;
    const answered = [...answer.text.matchAll(answers)].map(([, number]) => Number(number));
    const numbers = whole.map(({ number }) => number);
    // A reset may take the last answers with it, and never adds one.
    const isShort = answer.end === "reset" && answered.every((number, index) => number === numbers[index]);
    if (answered.join() !== numbers.join() && !isShort)
      complain(`requests ${numbers.join()} were read and ${answered.join() || "none"} answered`);
  }
  for (const connection of await app.forget()) {
    const bytes = connection.bytes();
    const shown = (): string => JSON.stringify([bytes.toString("latin1"), mutants]);
    if (connection.isRefused) complaints.push(`llhttp refuses what was passed on: ${shown()}`);
    const other = go === undefined ? undefined : disagreement(connection, await go.requestsIn(bytes));
    if (other !== undefined) complaints.push(`llhttp and Go disagree: ${other}: ${shown()}`);
  }
  return { complaints, reached, statuses };
}

const answers = new RegExp(`^${answerName}: ([0-9]+)\r$`, "gim");

function replaced(text: string, at: number, by: (byte: number) => string): string {
  const index = at % Math.max(1, text.length);
  return text.slice(0, index) + by(text.charCodeAt(index)) + text.slice(index + 1);
}

function withLineAt(
  text: string,
  { from, to, isMove }: { readonly from: number; readonly to: number; readonly isMove: boolean },
): string {
  const lines = text.split("\r\n");
  const [line = ""] = isMove ? lines.splice(from % lines.length, 1) : lines.slice(from % lines.length);
  lines.splice(to % (lines.length + 1), 0, line);
  return lines.join("\r\n");
}
