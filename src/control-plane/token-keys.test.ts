import { join } from "node:path";
import { expect, it } from "vitest";
import { temporaryFolder } from "../../test/contracts/temporary-folder.ts";
import { type FakeClock, fakeClock } from "../../test/fakes/fake-clock.ts";
import { silentLog } from "../../test/fakes/silent-log.ts";
import { foundSmallDomain, putAsOperator, type SmallDomain } from "../../test/fakes/small-domain.ts";
import { parseTrustDomain } from "../identity/index.ts";
import { publishedTokenKeys, type TokenUse } from "../trust-log/index.ts";
import { openLogFiles } from "./log-files.ts";
import { LogWriter } from "./log-writer.ts";
import {
  HeldTokenKeys,
  idOfTokenKey,
  tokenKeyAheadSeconds,
  tokenKeyLifetimeSecondsDefault,
  tokenKeyName,
  tokenKeyPublishedSecondsMin,
  tokenUses,
} from "./token-keys.ts";

interface Ground extends AsyncDisposable {
  readonly domain: SmallDomain;
  readonly writer: LogWriter;
  readonly keys: HeldTokenKeys;
  readonly clock: FakeClock;
  readonly told: string[];
  /** Lets time pass and the log say so. */
  readonly pass: (seconds: number) => Promise<void>;
}

async function openGround(hasTokenKeys = true): Promise<Ground> {
  await using stack = new AsyncDisposableStack();
  const folder = stack.use(await temporaryFolder());
  const clock = fakeClock();
  const domain = await foundSmallDomain(folder.path, clock, { hasTokenKeys });
  const storage = stack.use(await openLogFiles(join(folder.path, "log")));
  const writer = stack.use(
    await LogWriter.open({ storage, keys: domain.keys, clock, log: silentLog, epochIntervalMillis: 5 }),
  );
  const trustDomain = parseTrustDomain("example.org");
  if (!trustDomain.ok) throw new Error(trustDomain.reason);
  const told: string[] = [];
  const keys = new HeldTokenKeys({
    trustDomain: trustDomain.value,
    keyStore: domain.keyStore,
    writer,
    clock,
    log: silentLog,
    notRenewed: (detail) => told.push(detail),
  });
  const pass = async (seconds: number): Promise<void> => {
    clock.advanceSeconds(seconds);
    const isThere = (): boolean => writer.state.genesis?.epochTimeSeconds === Math.floor(clock.nowSeconds());
    while (!isThere()) await new Promise((resolve) => setTimeout(resolve, 5));
    await keys.look();
  };
  const opened = stack.move();
  return {
    domain,
    writer,
    keys,
    clock,
    told,
    pass,
    [Symbol.asyncDispose]: () => opened.disposeAsync(),
  };
}

function statuses({ writer }: Ground, use: TokenUse): readonly string[] {
  return publishedTokenKeys(writer.state, use).map(({ status }) => status);
}

async function signingId({ keys }: Ground, use: TokenUse): Promise<string> {
  const signing = await keys.signing(use);
  return signing.ok ? signing.value.id : signing.reason;
}

it("a new domain has an active key for each use, kept in the key store under its id", async () => {
  await using ground = await openGround();

  for (const use of tokenUses) {
    const id = await signingId(ground, use);
    expect(statuses(ground, use)).toEqual(["active"]);
    expect(publishedTokenKeys(ground.writer.state, use)).toMatchObject([{ id }]);
    expect(await ground.domain.keyStore.load(tokenKeyName(id))).toBeDefined();
    expect(await ground.keys.held()).toContain(id);
  }
  expect(await signingId(ground, "jwt-svid")).not.toBe(await signingId(ground, "wit-svid"));
});

it("a prepared key is in the bundle once it is put, and signs once it is activated", async () => {
  await using ground = await openGround();
  const { domain, writer, keys } = ground;
  const first = await signingId(ground, "jwt-svid");

  const body = await keys.prepare("jwt-svid");
  const next = idOfTokenKey(body);
  expect(statuses(ground, "jwt-svid")).toEqual(["active"]);
  await putAsOperator(domain, writer, { kind: "jwk.put", body });
  expect(statuses(ground, "jwt-svid")).toEqual(["active", "prepared"]);
  expect(await signingId(ground, "jwt-svid")).toBe(first);
  await putAsOperator(domain, writer, { kind: "ca.activate", body: { authority: next } });

  expect(statuses(ground, "jwt-svid")).toEqual(["old", "active"]);
  expect(await signingId(ground, "jwt-svid")).toBe(next);
});

it("a domain from before there were tokens has them once a prepared key is put and activated", async () => {
  await using ground = await openGround(false);
  const { domain, writer, keys } = ground;
  expect(await signingId(ground, "jwt-svid")).toBe("no-token-key");

  const body = await keys.prepare("jwt-svid");
  await putAsOperator(domain, writer, { kind: "jwk.put", body });
  expect(await signingId(ground, "jwt-svid")).toBe("no-token-key");
  await putAsOperator(domain, writer, { kind: "ca.activate", body: { authority: idOfTokenKey(body) } });

  expect(await signingId(ground, "jwt-svid")).toBe(idOfTokenKey(body));
  expect(await signingId(ground, "wit-svid")).toBe("no-token-key");
});

it("a key that is tainted still verifies, and one that is revoked does not", async () => {
  await using ground = await openGround();
  const { domain, writer, keys } = ground;
  const first = await signingId(ground, "jwt-svid");
  const body = await keys.prepare("jwt-svid");
  await putAsOperator(domain, writer, { kind: "jwk.put", body });
  await putAsOperator(domain, writer, { kind: "ca.activate", body: { authority: idOfTokenKey(body) } });

  await putAsOperator(domain, writer, { kind: "ca.taint", body: { authority: first } });
  expect(statuses(ground, "jwt-svid")).toEqual(["tainted", "active"]);
  await putAsOperator(domain, writer, {
    kind: "ca.revoke",
    body: { authority: first, reason: "key-compromise" },
  });

  expect(statuses(ground, "jwt-svid")).toEqual(["active"]);
});

it("signs nothing after the end of its key, and the key is out of the bundle", async () => {
  await using ground = await openGround();

  ground.clock.advanceSeconds(tokenKeyLifetimeSecondsDefault);
  expect(await signingId(ground, "jwt-svid")).toBe("token-key-expired");
  await ground.pass(1);

  expect(statuses(ground, "jwt-svid")).toEqual([]);
  expect(await signingId(ground, "jwt-svid")).toBe("no-token-key");
});

it("signs nothing where the key is not in the key store", async () => {
  await using ground = await openGround();
  const { domain, writer, keys } = ground;
  const body = await keys.prepare("jwt-svid");
  await domain.keyStore.save(tokenKeyName(idOfTokenKey(body)), await otherKey(ground));

  await putAsOperator(domain, writer, { kind: "jwk.put", body });
  await putAsOperator(domain, writer, { kind: "ca.activate", body: { authority: idOfTokenKey(body) } });

  expect(await signingId(ground, "jwt-svid")).toBe("no-token-key");
  expect(await keys.held()).not.toContain(idOfTokenKey(body));
});

it("says what people have to do when a key nears its end, and not before", async () => {
  await using ground = await openGround();

  await ground.pass(tokenKeyLifetimeSecondsDefault - tokenKeyAheadSeconds - 10);
  expect(ground.told).toEqual([]);
  await ground.pass(40);

  expect(ground.told).toHaveLength(tokenUses.length);
  expect(ground.told[0]).toMatch(/troth ca prepare --kind jwt-svid.*troth ca activate/);
  expect(statuses(ground, "jwt-svid")).toEqual(["active"]);
});

it("replaces a key by itself where the log grants it, and signs by the next one only when it is known", async () => {
  await using ground = await openGround();
  const { domain, writer } = ground;
  await putAsOperator(domain, writer, {
    kind: "authority.put",
    body: {
      kinds: ["jwk.put", "ca.activate"],
      grant: { role: "issuer", signatures: 1, approvals: 0 },
    },
  });
  const first = await signingId(ground, "jwt-svid");

  await ground.pass(tokenKeyLifetimeSecondsDefault - tokenKeyAheadSeconds + 1);
  await ground.pass(31);
  expect(statuses(ground, "jwt-svid")).toEqual(["active", "prepared"]);
  await ground.pass(tokenKeyPublishedSecondsMin - 10);
  expect(await signingId(ground, "jwt-svid")).toBe(first);
  await ground.pass(31);

  expect(statuses(ground, "jwt-svid")).toEqual(["old", "active"]);
  expect(await signingId(ground, "jwt-svid")).not.toBe(first);
  expect(statuses(ground, "wit-svid")).toEqual(["old", "active"]);
  expect(ground.told).toEqual([]);
});

async function otherKey({ domain, keys }: Ground): Promise<Uint8Array> {
  const key = await domain.keyStore.load(tokenKeyName(idOfTokenKey(await keys.prepare("wit-svid"))));
  if (key === undefined) throw new Error("no key");
  return key;
}
