import { randomBytes } from "node:crypto";
import { join } from "node:path";
import { expect, test } from "vitest";
import { temporaryFolder } from "../../test/contracts/temporary-folder.ts";
import { type FakeClock, fakeClock } from "../../test/fakes/fake-clock.ts";
import { silentLog } from "../../test/fakes/silent-log.ts";
import { foundSmallDomain, putAsOperator, type SmallDomain } from "../../test/fakes/small-domain.ts";
import { base64Of, hexOf } from "../base/bytes.ts";
import {
  authorityConstraints,
  buildCertificate,
  distinguishedName,
  generateP256,
  issuerKeyIdExtension,
  keyUsageExtension,
  parseCertificateRequest,
  sha256,
  subjectKeyIdExtension,
  uriNamesExtension,
} from "../crypto/index.ts";
import { createRoot, parseTrustDomain, requestIntermediate } from "../identity/index.ts";
import { HeldAuthorities } from "./held-authorities.ts";
import { openLogFiles } from "./log-files.ts";
import { LogWriter } from "./log-writer.ts";

const day = 86_400;

interface World extends AsyncDisposable {
  readonly clock: FakeClock;
  readonly domain: SmallDomain;
  readonly writer: LogWriter;
  readonly authorities: HeldAuthorities;
  readonly notRenewed: string[];
  readonly put: (kind: string, body: Record<string, string>) => Promise<number>;
  /** Lets time pass and an epoch come, as in a control plane that runs or starts again. */
  readonly pass: (seconds: number) => Promise<void>;
}

async function openWorld(): Promise<World> {
  await using stack = new AsyncDisposableStack();
  const clock = fakeClock();
  const folder = stack.use(await temporaryFolder());
  const domain = await foundSmallDomain(folder.path, clock);
  const storage = stack.use(await openLogFiles(join(folder.path, "log")));
  const writer = stack.use(await LogWriter.open({ storage, keys: domain.keys, clock, log: silentLog }));
  const trustDomain = parseTrustDomain("example.org");
  if (!trustDomain.ok) throw new Error(trustDomain.reason);
  const notRenewed: string[] = [];
  const authorities = await HeldAuthorities.open({
    trustDomain: trustDomain.value,
    keyStore: domain.keyStore,
    writer,
    intermediateLifetimeSeconds: 90 * day,
    clock,
    randomBytes,
    log: silentLog,
    notRenewed: (detail) => notRenewed.push(detail),
  });
  const epoch = async (): Promise<void> => {
    const { epochNumber = 0 } = writer.state.genesis ?? {};
    const body = {
      number: epochNumber + 1,
      size: writer.tree.size,
      timeSeconds: Math.floor(clock.nowSeconds()),
      stateDigest: writer.state.digest(),
      curatorDigest: null,
    };
    const written = await writer.write([{ role: "sequencer", kind: "epoch", body }]);
    if (!written.ok) throw new Error(written.detail);
  };
  const left = stack.move();
  return {
    clock,
    domain,
    writer,
    authorities,
    notRenewed,
    put: (kind, body) => putAsOperator(domain, writer, { kind, body }),
    pass: async (seconds) => {
      clock.advanceSeconds(seconds);
      await epoch();
    },
    [Symbol.asyncDispose]: () => left.disposeAsync(),
  };
}

async function issuingId({ authorities }: World): Promise<string> {
  const authority = await authorities.issuing();
  return authority === undefined ? "none" : hexOf(sha256(authority.certificate.der));
}

async function prepared({ authorities }: World): Promise<string> {
  const made = await authorities.prepareIntermediate();
  if (!made.ok) throw new Error(made.detail);
  return hexOf(sha256(made.value.certificate));
}

/** A new root in the log; its id. */
async function trustedRoot(world: World): Promise<string> {
  const certificate = await world.authorities.prepareRoot();
  await world.put("ca.trust", { certificate: base64Of(certificate) });
  return hexOf(sha256(certificate));
}

test("what is prepared does not sign before it is activated, and then at once", async () => {
  await using world = await openWorld();
  const first = await issuingId(world);

  const second = await prepared(world);
  const before = await issuingId(world);
  await world.put("ca.activate", { authority: second });

  expect(before).toBe(first);
  expect(await issuingId(world)).toBe(second);
});

test("an intermediate in the last third of its life gives way to a new one under the same root", async () => {
  await using world = await openWorld();
  const first = await issuingId(world);
  await world.pass(59 * day);
  const early = await issuingId(world);

  await world.pass(2 * day);
  const [second, again] = await Promise.all([issuingId(world), issuingId(world)]);

  const authority = await world.authorities.issuing();
  expect(early).toBe(first);
  expect(second).not.toBe(first);
  expect(again).toBe(second);
  expect(authority?.certificate.notAfterSeconds).toBeGreaterThan(world.clock.nowSeconds() + 89 * day);
});

test("after a sleep beyond the end of the intermediate, a new one signs once an epoch confirms the time", async () => {
  await using world = await openWorld();
  world.clock.advanceSeconds(200 * day);
  const doubtful = await issuingId(world);

  await world.pass(0);

  expect(doubtful).toBe("none");
  expect(await issuingId(world)).not.toBe("none");
});

test("a clock that jumps ahead and back makes no authority and loses none", async () => {
  await using world = await openWorld();
  const first = await issuingId(world);
  const size = world.writer.state.certificateAuthorities.size;

  world.clock.setWallSeconds(world.clock.nowSeconds() + 80 * day);
  const ahead = await issuingId(world);
  world.clock.setWallSeconds(world.clock.nowSeconds() - 80 * day);

  expect(ahead).toBe(first);
  expect(await issuingId(world)).toBe(first);
  expect(world.writer.state.certificateAuthorities.size).toBe(size);
});

test("a tainted root signs no further intermediate, nor do the intermediates below it sign", async () => {
  await using world = await openWorld();
  const first = await issuingId(world);
  const founding = await trustedRootId(world);
  const root = await trustedRoot(world);
  await world.put("ca.activate", { authority: root });
  const second = await prepared(world);
  const before = await issuingId(world);

  await world.put("ca.taint", { authority: founding });

  expect(before).toBe(first);
  expect(await issuingId(world)).toBe(second);
});

test("a revoked intermediate signs no more", async () => {
  await using world = await openWorld();
  const first = await issuingId(world);
  const second = await prepared(world);
  await world.put("ca.activate", { authority: second });

  await world.put("ca.revoke", { authority: first, reason: "key-compromise" });

  expect(await issuingId(world)).toBe(second);
});

test("without the key of a trusted root, the intermediate in use goes on and an alarm says why", async () => {
  await using world = await openWorld();
  const root = await trustedRootOfElsewhere(world);
  const founding = await trustedRootId(world);
  const second = await foreignIntermediate(world, root);
  await world.put("ca.activate", { authority: hexOf(sha256(root.certificate.der)) });
  await world.put("ca.activate", { authority: second });
  await world.put("ca.revoke", { authority: founding, reason: "superseded" });

  await world.pass(61 * day);

  expect(await issuingId(world)).toBe(second);
  expect(world.notRenewed).toHaveLength(1);
  expect(world.notRenewed[0]).toContain("no-root-key");
});

test("an intermediate of a root elsewhere is taken for a request that was made here, and refused for any other key", async () => {
  await using world = await openWorld();
  const root = await trustedRootOfElsewhere(world);

  const taken = await foreignIntermediate(world, root);
  const foreign = requestIntermediate(
    { trustDomain: root.trustDomain, privateKey: generateP256().privateKey },
    randomBytes,
  );
  const refused = await world.authorities.takeIntermediate(signedRequest(world, root, foreign));

  await world.put("ca.activate", { authority: taken });
  expect(await issuingId(world)).toBe(taken);
  expect(refused).toMatchObject({ ok: false, reason: "not-prepared-here" });
});

test("an intermediate is refused whose SVIDs no peer would accept", async () => {
  await using world = await openWorld();
  const trusted = await trustedRootOfElsewhere(world);
  const { trustDomain } = trusted;
  const stranger = createRoot(
    { trustDomain, privateKey: generateP256().privateKey },
    { clock: world.clock, randomBytes },
  );

  const request = await world.authorities.prepareRequest();
  const refused = await world.authorities.takeIntermediate(signedRequest(world, stranger, request));

  expect(refused).toMatchObject({ ok: false, reason: "unfit-certificate" });
});

type Root = ReturnType<typeof createRoot>;

async function trustedRootOfElsewhere({ put, clock }: World): Promise<Root> {
  const trustDomain = parseTrustDomain("example.org");
  if (!trustDomain.ok) throw new Error(trustDomain.reason);
  const request = { trustDomain: trustDomain.value, privateKey: generateP256().privateKey };
  const root = createRoot(request, { clock, randomBytes });
  await put("ca.trust", { certificate: base64Of(root.certificate.der) });
  return root;
}

async function foreignIntermediate(world: World, root: Root): Promise<string> {
  const request = await world.authorities.prepareRequest();
  const taken = await world.authorities.takeIntermediate(signedRequest(world, root, request));
  if (!taken.ok) throw new Error(taken.detail);
  return hexOf(sha256(taken.value.certificate));
}

/** As `openssl x509 -req -copy_extensions copyall` does. */
function signedRequest({ clock }: World, root: Root, request: Uint8Array): Uint8Array {
  const parsed = parseCertificateRequest(request);
  if (!parsed.ok) throw new Error(parsed.reason);
  return buildCertificate(
    {
      serial: Uint8Array.of(0x40, ...randomBytes(15)),
      issuer: root.certificate.subject.der,
      subject: distinguishedName("Elsewhere", `issuer ${hexOf(randomBytes(4))}`),
      notBeforeSeconds: clock.nowSeconds() - 10,
      notAfterSeconds: clock.nowSeconds() + 90 * day,
      publicKeyInfo: parsed.value.publicKeyInfo,
      extensions: [
        authorityConstraints(0),
        keyUsageExtension(["keyCertSign", "cRLSign"]),
        uriNamesExtension(parsed.value.requestedUriNames),
        subjectKeyIdExtension(parsed.value.publicKeyInfo),
        issuerKeyIdExtension(root.certificate),
      ],
    },
    root.privateKey,
  );
}

/** The root that the domain was founded with. */
function trustedRootId({ writer }: World): Promise<string> {
  for (const [, { certificate, isTrusted }] of writer.state.certificateAuthorities.entries())
    if (isTrusted) return Promise.resolve(hexOf(sha256(Buffer.from(certificate, "base64"))));
  throw new Error("no root");
}
