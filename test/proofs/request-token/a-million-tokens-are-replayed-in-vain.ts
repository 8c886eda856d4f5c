import { randomBytes, sign, verify } from "node:crypto";
import { setFlagsFromString } from "node:v8";
import { runInNewContext } from "node:vm";
import { generateP256 } from "../../../src/crypto/index.ts";
import {
  defaultReplayWindow,
  nonceBucketMillis,
  type RequestTokenRefusal,
  requestTokenCharacters,
  type TokenRequest,
} from "../../../src/request-token/index.ts";
import { type ConnectedCaller, type TokenGround, tokenGround } from "../../apparatus/token-ground.ts";
import { type Claim, failed, ok } from "../claim.ts";

const manyShort = 100_000;
const manyFull = 1_000_000;
const chunk = 1_000;
const verificationsPerChunk = 20;
const mintShareMax = 0.2;
const checkShareMax = 0.15;
/** So many that none of them has an eighth of the wheel, even where some are counted together. */
const callers = 64;
const buckets = 5;
const tables = 9;
/** What else holds typed arrays: 4 KiB of nonces that each caller has drawn ahead, above all. */
const memorySlackBytes = 2 ** 19;
const memorySlackShare = 0.01;

const request: TokenRequest = {
  method: "POST",
  destination: "/shop/payments",
  path: "/v1/charge?order=1234567",
  contentDigest: "",
};

export const claim: Claim = {
  text: "as many request tokens as a proxy can remember are accepted once each and then refused as replayed, in the memory that was foretold and for a small part of a signature's verification",
  run: (context) => {
    const many = context.isFull ? manyFull : manyShort;
    const store = Buffer.alloc(many * requestTokenCharacters, 0, "latin1");
    const ground = tokenGround({
      clock: { millis: 1_800_000_000_000 },
      audience: "0197f3a0-1111-7222-8333-444455556666/0011223344556677",
      rootKey: randomBytes(32),
      window: defaultReplayWindow,
      // Each bucket of time gets exactly full.
      bucketEntriesMax: many / buckets,
    });
    const connected = Array.from({ length: callers }, (_, index) => ground.connect(`/shop/caller-${index}`));
    const before = arrayBufferBytes();
    const first = spend(ground, connected, store);
    context.note(`${many} tokens were accepted once each`);
    const replayed = replay(ground, connected, store);
    const tooMany = overfill(ground, connected);
    const measured = arrayBufferBytes() - before;
    return Promise.resolve(judge({ many, ground, first, replayed, tooMany, measured }));
  },
};

interface Spent {
  readonly refused: readonly string[];
  /** CPU of a mint and of a check, each as a share of one P-256 verification, in alternation. */
  readonly mintShare: number;
  readonly checkShare: number;
  readonly verifyMicros: number;
}

interface Seen {
  readonly many: number;
  readonly ground: TokenGround;
  readonly first: Spent;
  readonly replayed: ReadonlyMap<string, number>;
  readonly tooMany: ReadonlyMap<string, number>;
  readonly measured: number;
}

function judge({ many, ground, first, replayed, tooMany, measured }: Seen) {
  const foretold = ground.nonces.bytes();
  const figure = [
    `${many} tokens accepted, ${replayed.get("request-token-replayed") ?? 0} replayed and refused as such, 0 accepted twice`,
    `${tooMany.get("nonce-store-full") ?? 0} too many refused as nonce-store-full`,
    `memory ${mebibytes(measured)}, foretold ${mebibytes(foretold)} of ${mebibytes(ground.nonces.bytesMax)} at the most, ${((ground.nonces.bytesMax / many) * (buckets / tables)).toFixed(1)} bytes a token in a full table`,
    `of a P-256 verification (${first.verifyMicros.toFixed(0)} µs of CPU in this run) a mint takes ${first.mintShare.toFixed(3)} (goal ${mintShareMax}), a check with its nonce ${first.checkShare.toFixed(3)} (goal ${checkShareMax})`,
  ].join("; ");
  if (first.refused.length > 0)
    return failed(`${first.refused.length} good tokens were refused: ${first.refused[0]}`);
  if (replayed.size !== 1 || replayed.get("request-token-replayed") !== many)
    return failed(`replays ended as ${shown(replayed)}`);
  if (tooMany.size !== 1 || !tooMany.has("nonce-store-full"))
    return failed(`tokens beyond the limit ended as ${shown(tooMany)}`);
  const isFast = first.mintShare <= mintShareMax && first.checkShare <= checkShareMax;
  const isAsForetold = Math.abs(measured - foretold) <= foretold * memorySlackShare + memorySlackBytes;
  return isFast && isAsForetold ? ok(figure) : failed(figure);
}

/** Mints and checks tokens at an even pace over five buckets of time, with verifications of P-256 in between. */
function spend(ground: TokenGround, connected: readonly ConnectedCaller[], store: Buffer): Spent {
  const many = store.length / requestTokenCharacters;
  const start = Math.ceil(ground.clock.millis / nonceBucketMillis) * nonceBucketMillis;
  const rounds: { mint: number; check: number; verify: number }[] = [];
  const refused: string[] = [];
  const oneVerification = verification();
  for (let done = 0; done < many; done += chunk) {
    ground.clock.millis = start + Math.floor((done / many) * buckets * nonceBucketMillis);
    const tokens: string[] = [];
    const mint = cpuMicros(() => {
      for (let index = 0; index < chunk; index += 1) tokens.push(callerOf(connected, index).mint(request));
    });
    const check = cpuMicros(() => {
      for (const [index, token] of tokens.entries()) {
        const result = callerOf(connected, index).check(token, request, "granted");
        if (!result.ok) refused.push(result.reason);
      }
    });
    const verifying = cpuMicros(() => {
      for (let index = 0; index < verificationsPerChunk; index += 1) oneVerification();
    });
    rounds.push({ mint: mint / chunk, check: check / chunk, verify: verifying / verificationsPerChunk });
    for (const [index, token] of tokens.entries())
      store.write(token, (done + index) * requestTokenCharacters, "latin1");
  }
  ground.clock.millis = start + buckets * nonceBucketMillis;
  return {
    refused,
    mintShare: median(rounds.map(({ mint, verify: whole }) => mint / whole)),
    checkShare: median(rounds.map(({ check, verify: whole }) => check / whole)),
    verifyMicros: median(rounds.map(({ verify: whole }) => whole)),
  };
}

/** Shows every token again, on the connection that it was made for: all else would be refused for that already. */
function replay(ground: TokenGround, connected: readonly ConnectedCaller[], store: Buffer) {
  const outcomes = new Map<RequestTokenRefusal | "accepted", number>();
  for (let index = 0; index * requestTokenCharacters < store.length; index += 1) {
    const at = index * requestTokenCharacters;
    const token = store.toString("latin1", at, at + requestTokenCharacters);
    count(outcomes, callerOf(connected, index % chunk).check(token, request, "granted"));
  }
  return outcomes;
}

/** Has tokens of somebody who has sent nothing checked with a time of the last bucket, then uses the tables still empty. */
function overfill(ground: TokenGround, connected: readonly ConnectedCaller[]) {
  const outcomes = new Map<RequestTokenRefusal | "accepted", number>();
  const stranger = ground.connect("/shop/stranger");
  const last = ground.clock.millis - nonceBucketMillis;
  ground.clock.millis = last;
  for (let index = 0; index < chunk; index += 1)
    count(outcomes, stranger.check(stranger.mint(request), request, "granted"));
  // One token each uses the tables of the buckets that are still to come.
  for (let ahead = 1; ahead <= tables - buckets; ahead += 1) {
    ground.clock.millis = last + ahead * nonceBucketMillis;
    const { check, mint } = callerOf(connected, ahead);
    check(mint(request), request, "granted");
  }
  return outcomes;
}

function count(
  outcomes: Map<RequestTokenRefusal | "accepted", number>,
  result: ReturnType<ConnectedCaller["check"]>,
): void {
  const outcome = result.ok ? "accepted" : result.reason;
  outcomes.set(outcome, (outcomes.get(outcome) ?? 0) + 1);
}

function callerOf(connected: readonly ConnectedCaller[], index: number): ConnectedCaller {
  const caller = connected[index % connected.length];
  if (caller === undefined) throw new Error("nobody is connected");
  return caller;
}

function verification(): () => void {
  const { privateKey, publicKey } = generateP256();
  const message = randomBytes(32);
  const signature = sign("sha256", message, privateKey);
  return () => {
    if (!verify("sha256", message, publicKey, signature)) throw new Error("a good signature does not verify");
  };
}

function cpuMicros(work: () => void): number {
  const before = process.cpuUsage();
  work();
  const { user, system } = process.cpuUsage(before);
  return user + system;
}

/** What typed arrays take, with the garbage gone. */
function arrayBufferBytes(): number {
  setFlagsFromString("--expose-gc");
  const collect: unknown = runInNewContext("gc");
  // What one collection has found is given back in the next.
  for (let turn = 0; turn < 3; turn += 1) if (typeof collect === "function") collect();
  return process.memoryUsage().arrayBuffers;
}

function median(values: readonly number[]): number {
  return values.toSorted((left, right) => left - right)[Math.floor(values.length / 2)] ?? 0;
}

function mebibytes(bytes: number): string {
  return `${(bytes / 2 ** 20).toFixed(1)} MiB`;
}

function shown(outcomes: ReadonlyMap<string, number>): string {
  return [...outcomes].map(([outcome, times]) => `${times} ${outcome}`).join(", ");
}
