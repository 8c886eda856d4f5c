import { afterAll, beforeAll, expect, it } from "vitest";
import { MeshInProcess, until } from "../../../test/apparatus/mesh-in-process.ts";
import { base64Of } from "../../base/bytes.ts";
import { parseSpiffeBundle, writeSpiffeBundle } from "../../identity/index.ts";
import { testDomain, testId, valueOf } from "../../identity/svid-for-tests.ts";
import { domainBundle } from "./domain-bundle.ts";

const endpointSpiffeId = "spiffe://bank.example/troth/bundle-endpoint";
let shop: MeshInProcess;
let bank: MeshInProcess;

beforeAll(async () => {
  const bundleEndpoint = {
    listen: { host: "127.0.0.1", port: 0 },
    proof: { profile: "https_spiffe", spiffeId: testId(endpointSpiffeId) },
  } as const;
  [shop, bank] = await Promise.all([
    MeshInProcess.found({ trustDomain: "shop.example" }),
    MeshInProcess.found({ trustDomain: "bank.example", bundleEndpoint }),
  ]);
  await federate({});
}, 60_000);
afterAll(async () => {
  await shop[Symbol.asyncDispose]();
  await bank[Symbol.asyncDispose]();
});

/** What bank.example says, with this sequence, as somebody would hand it over. */
function bankBundle(sequence: bigint | undefined): string {
  const { trustDomain } = bank.root;
  return writeSpiffeBundle(domainBundle(bank.controlPlane.writer.state, trustDomain, sequence));
}

async function federate(changes: { endpointSpiffeId?: string; bundle?: string }): Promise<void> {
  await shop.put("federation.put", {
    trustDomain: "bank.example",
    url: `https://${bank.controlPlane.bundleEndpointAddress}/`,
    profile: "https_spiffe",
    endpointSpiffeId,
    bundle: bankBundle(undefined),
    ...changes,
  });
}

function known(): { authorities: number; sequence: bigint | undefined } {
  const text = shop.controlPlane.writer.state.federation.get("bank.example")?.bundle ?? "";
  const { x509, sequence } = valueOf(parseSpiffeBundle(bank.root.trustDomain, text));
  return { authorities: x509.authorities.length, sequence };
}

it("writes no entry for keys that it has, whatever their sequence", async () => {
  const before = shop.controlPlane.writer.state.federation.digest();

  const error = await shop.refreshFederation("bank.example");

  expect(error).toBe("");
  expect(shop.controlPlane.writer.state.federation.digest()).toBe(before);
});

it("has a new root of the other trust domain written into the log", async () => {
  const next = testDomain("bank.example").root.certificate;
  await bank.put("ca.trust", { certificate: base64Of(next.der) });

  const error = await shop.refreshFederation("bank.example");

  expect(error).toBe("");
  expect(known().authorities).toBe(2);
  expect(known().sequence).toBeGreaterThan(2n);
});

it("refuses a bundle whose sequence is lower than one that it knows, and raises an alarm", async () => {
  const { trustDomain } = bank.root;
  const state = bank.controlPlane.writer.state;
  await federate({ bundle: writeSpiffeBundle(domainBundle(state, trustDomain, 10_000n)) });

  const error = await shop.refreshFederation("bank.example");

  expect(error).toMatch(/^sequence-went-back: from 10000 to /);
  expect(await shop.alarms()).toContainEqual(expect.objectContaining({ reason: "federation-rollback" }));
  expect(known().sequence).toBe(10_000n);
});

it("refuses an endpoint that is not the one it was told of, and raises an alarm", async () => {
  await federate({ endpointSpiffeId: "spiffe://bank.example/other" });

  const error = await shop.refreshFederation("bank.example");

  expect(error).toMatch(/^endpoint-not-trusted: .*not spiffe:\/\/bank\.example\/other/);
  expect(await shop.alarms()).toContainEqual(expect.objectContaining({ reason: "federation-refused" }));
});

it("asks a new endpoint by itself, and one that is federated with no more not at all", async () => {
  await federate({ bundle: bankBundle(undefined) });
  await shop.put("federation.remove", { trustDomain: "bank.example" });
  await expect(shop.refreshFederation("bank.example")).rejects.toThrow(/no federation with bank\.example/);
  const onlyOne = domainBundle(bank.controlPlane.writer.state, bank.root.trustDomain, undefined);
  const x509 = { ...onlyOne.x509, authorities: onlyOne.x509.authorities.slice(0, 1) };

  await federate({ bundle: writeSpiffeBundle({ ...onlyOne, x509 }) });

  await until(() => known().authorities === 2, "the bundle of the endpoint");
});
