import { describe, expect, it } from "vitest";
import { isRegion, parseCharge, parseOrder, passesLuhn } from "./order.ts";
import { priceCentsByItem, SampleOrders } from "./sample-orders.ts";

const charge = {
  orderId: "order-1-000001",
  amountCents: 3490,
  currency: "EUR",
  region: "EU",
  cardNumber: "4111111111111111",
  cardHolder: "Agnes Vermeulen",
  email: "agnes.vermeulen@example.com",
};

describe("a charge", () => {
  it("is read without its unknown members", () => {
    expect(parseCharge({ ...charge, extra: 1 })).toEqual({ ok: true, value: charge });
  });

  it.each([
    ["malformed-member", "orderId", ""],
    ["malformed-member", "amountCents", 0],
    ["malformed-member", "amountCents", 1.5],
    ["malformed-member", "amountCents", 100_000_001],
    ["malformed-member", "currency", "USD"],
    ["malformed-member", "region", "toString"],
    ["malformed-member", "cardHolder", "x".repeat(101)],
    ["malformed-member", "email", "nobody"],
    ["malformed-member", "cardNumber", "4111 1111 1111 1111"],
    ["card-number-invalid", "cardNumber", "4111111111111112"],
  ])("is refused as %s when %s is %j", (reason, member, value) => {
    expect(parseCharge({ ...charge, [member]: value })).toMatchObject({ ok: false, reason });
  });

  it.each([[undefined], [null], [[]], ["text"]])("is refused as not-an-object when it is %j", (json) => {
    expect(parseCharge(json)).toMatchObject({ reason: "not-an-object" });
    expect(parseOrder(json)).toMatchObject({ reason: "not-an-object" });
  });
});

describe("passesLuhn", () => {
  it("notices each wrong digit", () => {
    const digits = "378282246310005";
    for (let place = 0; place < digits.length; place += 1)
      for (let digit = 0; digit <= 9; digit += 1) {
        const changed = digits.slice(0, place) + digit + digits.slice(place + 1);
        expect(passesLuhn(changed)).toBe(changed === digits);
      }
  });
});

describe("sample orders", () => {
  it("are well-formed, and their card numbers pass the Luhn check", () => {
    const samples = new SampleOrders(7);
    const cards = new Set<string>();
    for (let drawn = 0; drawn < 500; drawn += 1) {
      const order = { item: samples.item(), ...samples.payer(samples.region()) };
      expect(parseOrder(order)).toEqual({ ok: true, value: order });
      expect(isRegion(order.region) && priceCentsByItem.has(order.item)).toBe(true);
      expect(passesLuhn(order.cardNumber)).toBe(true);
      cards.add(order.cardNumber);
    }
    expect(cards.size).toBe(12);
  });

  it("are the same for the same seed and others for the next", () => {
    expect(items(4)).toEqual(items(4));
    expect(items(4)).not.toEqual(items(5));
  });

  it.each([[0], [2 ** 32 - 1]])("vary with the extreme seed %i", (seed) => {
    expect(new Set(items(seed)).size).toBeGreaterThan(3);
  });
});

function items(seed: number): string[] {
  const samples = new SampleOrders(seed);
  return Array.from({ length: 40 }, () => samples.item());
}
