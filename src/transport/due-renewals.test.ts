import { expect, it } from "vitest";
import { fakeClock } from "../../test/fakes/fake-clock.ts";
import { generateP256 } from "../crypto/index.ts";
import type { CertificateRow } from "../trust-log/index.ts";
import { TrustState } from "../trust-log/trust-state.ts";
import { DueRenewals } from "./due-renewals.ts";
import type { SvidInUse } from "./svid-keeper.ts";

const svid: SvidInUse = {
  certificate: new Uint8Array(0),
  privateKey: generateP256().privateKey,
  chainPem: "",
  privateKeyPem: "",
  serial: "1",
  sha256: "own",
  authorityKeyId: "key",
  notBeforeSeconds: 0,
  notAfterSeconds: 3_600,
};
const row: CertificateRow = {
  spiffeId: "spiffe://shop.example/shop/front",
  instance: "one",
  serial: "1",
  notAfterSeconds: 3_600,
  authorityKeyId: "key",
};

/** What is asked of a keeper that goes on with the same SVID. */
function open() {
  const asked: (number | "at once")[] = [];
  const keeper = {
    current: svid,
    renew: () => void asked.push("at once"),
    renewWithin: (millis: number) => void asked.push(millis),
  };
  return { asked, keeper, renewals: new DueRenewals(keeper, fakeClock()) };
}

function stateOf(count: number, more: Partial<CertificateRow>): TrustState {
  const state = new TrustState();
  state.certificates.set("own", { ...row, ...more });
  for (let other = 1; other < count; other += 1)
    state.certificates.set(`other-${other}`, { ...row, ...more });
  return state;
}

it.each([
  [1, 0],
  [100, 1_980],
  [1_000, 19_980],
  [5_000, 30_000],
])("replaces its SVID, one of %i that are due, at some moment within %i ms", (count, millis) => {
  const { asked, renewals } = open();

  expect(renewals.stepped(stateOf(count, { isDue: true }))).toBe("due");
  expect(asked).toEqual([millis]);
});

it("draws that moment once, however many steps of the log follow, and anew for the next SVID", () => {
  const { asked, keeper, renewals } = open();
  const state = stateOf(1_000, { isDue: true });
  renewals.stepped(state);

  for (let step = 0; step < 10; step += 1) expect(renewals.stepped(state)).toBeUndefined();
  expect(asked.length).toBe(1);
  keeper.current = { ...svid, sha256: "other-1" };
  renewals.stepped(state);
  expect(asked.length).toBe(2);
});

it("replaces at once what the log does not name, at every step until it does", () => {
  const { asked, renewals } = open();

  expect(renewals.stepped(new TrustState())).toBe("unnamed");
  renewals.stepped(new TrustState());

  expect(asked).toEqual(["at once", "at once"]);
});

it("leaves alone what nothing is wrong with", () => {
  const { asked, renewals } = open();

  expect(renewals.stepped(stateOf(1_000, {}))).toBeUndefined();
  expect(asked).toEqual([]);
});
