import { randomBytes } from "node:crypto";
import { beforeEach, expect, it } from "vitest";
import { type FakeClock, fakeClock } from "../../test/fakes/fake-clock.ts";
import { keyTextOf, SmallTrustLog, signerNamed } from "../../test/fakes/small-trust-log.ts";
import { Sessions } from "./sessions.ts";

const victor = { name: "example.org/viewer/victor", role: "viewer" };
let clock: FakeClock;
let log: SmallTrustLog;
let sessions: Sessions;

beforeEach(() => {
  clock = fakeClock();
  log = new SmallTrustLog();
  put("victor");
  sessions = new Sessions({ clock, randomBytes, state: () => log.state });
  sessions.serveAt("http://127.0.0.1:1");
});

function put(person: string): { readonly name: string; readonly role: string } {
  const name = `example.org/viewer/${person}`;
  log.put("key.put", { name, role: "viewer", publicKey: keyTextOf(signerNamed(name)) });
  return { name, role: "viewer" };
}

function codeFor(holder = victor): string {
  return sessions.open(holder).url.split("/session/")[1] ?? "";
}

function signIn(holder = victor): string {
  const redeemed = sessions.redeem(codeFor(holder));
  return redeemed.ok ? redeemed.value.cookie : redeemed.reason;
}

const reasonOf = (result: { readonly ok: boolean; readonly reason?: string }): string =>
  result.ok ? "ok" : (result.reason ?? "");

it("opens one session with one code, and tells who comes second", () => {
  const code = codeFor();

  expect(reasonOf(sessions.redeem(code))).toBe("ok");
  expect(sessions.redeem(code)).toMatchObject({ reason: "used-code", detail: victor.name });
  expect(reasonOf(sessions.redeem("guess"))).toBe("unknown-code");
});

it("opens none with a code over a minute old, or of a key that was removed meanwhile", () => {
  const [old, removed] = [codeFor(), codeFor()];
  clock.advanceSeconds(61);
  expect(reasonOf(sessions.redeem(old))).toBe("expired-code");
  clock.advanceSeconds(-61);
  log.put("key.remove", { name: victor.name });

  expect(reasonOf(sessions.redeem(removed))).toBe("key-removed");
});

it("ends after half an hour without use, and eight hours after its begin whatever its use", () => {
  const idle = signIn();
  clock.advanceSeconds(31 * 60);
  const busy = signIn();
  expect(reasonOf(sessions.check(idle))).toBe("idle");
  const seen: string[] = [];
  for (let minutes = 0; minutes < 8 * 60; minutes += 20) {
    seen.push(reasonOf(sessions.check(busy)));
    clock.advanceSeconds(20 * 60);
  }
  clock.advanceSeconds(1);

  expect(new Set(seen)).toEqual(new Set(["ok"]));
  expect(reasonOf(sessions.check(busy))).toBe("too-old");
  expect(reasonOf(sessions.check("guess"))).toBe("no-session");
});

it("ends as soon as the log does not have the key, and tells those who read", () => {
  const cookie = signIn();
  const session = sessions.check(cookie);
  if (!session.ok) throw new Error(session.reason);
  log.put("key.remove", { name: victor.name });

  sessions.endOver();

  expect(session.value.ended.aborted).toBe(true);
  expect(reasonOf(sessions.check(cookie))).toBe("key-removed");
});

it("is listed for its holder alone, under a name that opens nothing, and ended by nobody else", () => {
  const cookie = signIn();
  const other = put("other");
  const [listed, ...more] = sessions.list(victor.name);
  const id = listed?.id ?? "";

  expect(more).toEqual([]);
  expect(sessions.list(other.name)).toEqual([]);
  expect(reasonOf(sessions.check(id))).toBe("no-session");
  expect(sessions.end(other.name, id)).toBe(false);
  expect(reasonOf(sessions.check(cookie))).toBe("ok");
  expect(sessions.end(victor.name, id)).toBe(true);
  expect(reasonOf(sessions.check(cookie))).toBe("ended");
  expect([sessions.list(victor.name), sessions.end(victor.name, id)]).toEqual([[], false]);
});

it("keeps so many sessions and codes a person, the newest, and lets nobody push out another", () => {
  const first = signIn(put("other"));
  const cookies = Array.from({ length: 100 }, () => signIn());
  const codes = Array.from({ length: 100 }, () => codeFor());

  expect(reasonOf(sessions.check(first))).toBe("ok");
  expect(cookies.filter((cookie) => sessions.check(cookie).ok)).toEqual(cookies.slice(-4));
  expect(codes.filter((code) => sessions.redeem(code).ok)).toEqual(codes.slice(-4));
});

it("holds only so many in all", () => {
  const cookies = Array.from({ length: 70 }, (_, person) => signIn(put(`p${person}`)));

  expect(cookies.filter((cookie) => sessions.check(cookie).ok)).toEqual(cookies.slice(-64));
});
