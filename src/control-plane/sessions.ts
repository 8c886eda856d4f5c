import { hexOf } from "../base/bytes.ts";
import type { Clock, RandomBytes } from "../base/clock.ts";
import { fail, ok, type Result } from "../base/result.ts";
import { sha256 } from "../crypto/index.ts";
import type { TrustState } from "../trust-log/index.ts";

/** A code opens one session, within this time. */
const codeSecondsMax = 60;
const idleSecondsMax = 30 * 60;
const sessionSecondsMax = 8 * 3600;
const sessionsMax = 64;
const sessionsPerPersonMax = 4;
const codesMax = 64;
const codesPerPersonMax = 4;
const secretBytes = 32;
const idCharacters = 12;

/** Why a code opens no session. */
export type CodeRefusal = "unknown-code" | "used-code" | "expired-code" | "key-removed";

/** Why a cookie is no session (any more). */
export type SessionRefusal = "no-session" | "idle" | "too-old" | "key-removed" | "ended";

/** Whose session it is. */
export interface SessionHolder {
  readonly name: string;
  readonly role: string;
}

/** A session that was checked just now. */
export interface LiveSession extends SessionHolder {
  /** The person's raw key: the session reads what its holder may read. */
  readonly key: Uint8Array;
  readonly endsAtSeconds: number;
  /** Aborts when the session ends, so that no stream outlives it. */
  readonly ended: AbortSignal;
}

interface Code extends SessionHolder {
  readonly publicKey: string;
  readonly atMillis: number;
  isUsed: boolean;
}

interface Session extends SessionHolder {
  readonly publicKey: string;
  readonly openedMillis: number;
  readonly ending: AbortController;
  readonly endsAtSeconds: number;
  usedMillis: number;
  /** Why it ended; the row stays for a while, so that later calls are told. */
  over: SessionRefusal | undefined;
}

/**
 * Sessions of web browsers on this machine, in memory only. A session never signs: it reads, as its holder may, for as
 * long as the log has the holder's key in the same role. Secrets are kept by their SHA-256.
 */
export class Sessions {
  readonly #clock: Clock;
  readonly #randomBytes: RandomBytes;
  readonly #stateNow: () => TrustState;
  readonly #codes = new Map<string, Code>();
  readonly #sessions = new Map<string, Session>();
  /** Where the listener is: `http://127.0.0.1:port`. */
  #origin = "";

  constructor(parts: { clock: Clock; randomBytes: RandomBytes; state: () => TrustState }) {
    this.#clock = parts.clock;
    this.#randomBytes = parts.randomBytes;
    this.#stateNow = parts.state;
  }

  /** Says where sessions are served. */
  serveAt(origin: string): void {
    this.#origin = origin;
  }

  /** A code for a person who has proved to hold their key, as the address to open once within a minute. */
  open({ name, role }: SessionHolder): { readonly url: string; readonly expiresAtSeconds: number } {
    const now = this.#clock.monotonicMillis();
    const publicKey = this.#stateNow().authors.get(name)?.publicKey ?? "";
    const secret = this.#secret();
    keepRoom(this.#codes, name, { countMax: codesMax, perPersonMax: codesPerPersonMax });
    this.#codes.set(digestOf(secret), { name, role, publicKey, atMillis: now, isUsed: false });
    return {
      url: `${this.#origin}/session/${secret}`,
      expiresAtSeconds: Math.floor(this.#clock.nowSeconds()) + codeSecondsMax,
    };
  }

  /** Turns a code into a session, once; the session's own secret. */
  redeem(secret: string): Result<{ readonly cookie: string; readonly name: string }, CodeRefusal> {
    const code = this.#codes.get(digestOf(secret));
    if (code === undefined) return fail("unknown-code");
    const { name, role, publicKey, atMillis } = code;
    // Kept after its use, so that whoever comes second is noticed.
    if (code.isUsed) return fail("used-code", name);
    code.isUsed = true;
    const now = this.#clock.monotonicMillis();
    if (now - atMillis > codeSecondsMax * 1000) return fail("expired-code", name);
    if (!this.#hasKey(code)) return fail("key-removed", name);
    const ended = keepRoom(this.#sessions, name, {
      countMax: sessionsMax,
      perPersonMax: sessionsPerPersonMax,
    });
    for (const session of ended) session.ending.abort();
    const cookie = this.#secret();
    const endsAtSeconds = Math.floor(this.#clock.nowSeconds()) + sessionSecondsMax;
    const ending = new AbortController();
    this.#sessions.set(digestOf(cookie), {
      name,
      role,
      publicKey,
      openedMillis: now,
      usedMillis: now,
      endsAtSeconds,
      ending,
      over: undefined,
    });
    return ok({ cookie, name });
  }

  /** The session of a cookie, if it may go on. */
  check(cookie: string): Result<LiveSession, SessionRefusal> {
    const session = this.#sessions.get(digestOf(cookie));
    if (session === undefined) return fail("no-session");
    this.#endIfOver(session);
    if (session.over !== undefined) return fail(session.over, session.name);
    session.usedMillis = this.#clock.monotonicMillis();
    const key = new Uint8Array(Buffer.from(session.publicKey, "base64"));
    const { name, role, endsAtSeconds, ending } = session;
    return ok({ name, role, key, endsAtSeconds, ended: ending.signal });
  }

  /** The sessions of a person that go on. */
  list(
    name: string,
  ): { readonly id: string; readonly endsAtSeconds: number; readonly idleSeconds: number }[] {
    this.endOver();
    const now = this.#clock.monotonicMillis();
    return [...this.#sessions]
      .filter(([, session]) => session.name === name && session.over === undefined)
      .map(([digest, { endsAtSeconds, usedMillis }]) => ({
        id: idOf(digest),
        endsAtSeconds,
        idleSeconds: (now - usedMillis) / 1000,
      }));
  }

  /** Ends a session of this very person; whether there was one. */
  end(name: string, id: string): boolean {
    for (const [digest, session] of this.#sessions) {
      if (session.name !== name || idOf(digest) !== id || session.over !== undefined) continue;
      session.over = "ended";
      session.ending.abort();
      return true;
    }
    return false;
  }

  /** Ends the sessions that may not go on; to be called when the log has grown. */
  endOver(): void {
    for (const session of this.#sessions.values()) this.#endIfOver(session);
  }

  #endIfOver(session: Session): void {
    session.over ??= this.#whyOver(session);
    if (session.over !== undefined) session.ending.abort();
  }

  #whyOver(session: Session): SessionRefusal | undefined {
    const now = this.#clock.monotonicMillis();
    if (!this.#hasKey(session)) return "key-removed";
    if (now - session.openedMillis > sessionSecondsMax * 1000) return "too-old";
    return now - session.usedMillis > idleSecondsMax * 1000 ? "idle" : undefined;
  }

  /** Whether the log has the very key in the very role in which the session was asked for. */
  #hasKey({ name, role, publicKey }: Code | Session): boolean {
    const row = this.#stateNow().authors.get(name);
    return row !== undefined && !row.isRemoved && row.role === role && row.publicKey === publicKey;
  }

  #secret(): string {
    return Buffer.from(this.#randomBytes(secretBytes)).toString("base64url");
  }
}

/** Found by its digest, so that no comparison of secrets takes time that depends on them. */
function digestOf(secret: string): string {
  return hexOf(sha256(Buffer.from(secret)));
}

/** Names a session and opens nothing: the cookie cannot be had from its digest. */
function idOf(digest: string): string {
  return digest.slice(0, idCharacters);
}

/** Drops the oldest, of this person first, until there is room for one more; what was dropped. */
function keepRoom<Row extends SessionHolder>(
  rows: Map<string, Row>,
  name: string,
  { countMax, perPersonMax }: { readonly countMax: number; readonly perPersonMax: number },
): Row[] {
  const dropped: Row[] = [];
  const own = [...rows].filter(([, row]) => row.name === name);
  const surplus = own.length >= perPersonMax ? own.slice(0, own.length - perPersonMax + 1) : [];
  const [oldest] = rows;
  const all = surplus.length === 0 && rows.size >= countMax && oldest !== undefined ? [oldest] : surplus;
  for (const [id, row] of all) {
    rows.delete(id);
    dropped.push(row);
  }
  return dropped;
}
