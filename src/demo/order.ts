import { fail, ok, type Result } from "../base/result.ts";

/** The regions that the shop sells in and what is paid with there. */
export const currencies = { EU: "EUR", US: "USD", APAC: "SGD" } as const;

/** A region that the shop sells in. */
export type Region = keyof typeof currencies;

/** Who pays, and with which card. */
export interface Payer {
  readonly region: Region;
  /** Digits only. */
  readonly cardNumber: string;
  readonly cardHolder: string;
  readonly email: string;
}

/** What the web front orders from checkout. */
export interface Order extends Payer {
  readonly item: string;
}

/** What checkout has payments collect, and payments the ledger book. */
export interface Charge extends Payer {
  readonly orderId: string;
  readonly amountCents: number;
  readonly currency: (typeof currencies)[Region];
}

/** Why JSON is no order or charge; the detail names the member. */
export type OrderRefusal = "not-an-object" | "malformed-member" | "card-number-invalid";

const amountCentsMax = 100_000_000;

/** Reads an order; unknown members are dropped. */
export function parseOrder(json: unknown): Result<Order, OrderRefusal> {
  if (!isRecord(json)) return fail("not-an-object");
  const payer = parsePayer(json);
  if (!payer.ok) return payer;
  const { item } = json;
  return isText(item) ? ok({ item, ...payer.value }) : fail("malformed-member", "item");
}

/** Reads a charge in the currency of its region; unknown members are dropped. */
export function parseCharge(json: unknown): Result<Charge, OrderRefusal> {
  if (!isRecord(json)) return fail("not-an-object");
  const payer = parsePayer(json);
  if (!payer.ok) return payer;
  const { orderId, amountCents } = json;
  const currency = currencies[payer.value.region];
  if (!isText(orderId)) return fail("malformed-member", "orderId");
  if (!isAmount(amountCents)) return fail("malformed-member", "amountCents");
  if (json["currency"] !== currency) return fail("malformed-member", "currency");
  return ok({ orderId, amountCents, currency, ...payer.value });
}

/** Whether a text is the name of a region. */
export function isRegion(value: unknown): value is Region {
  return typeof value === "string" && Object.hasOwn(currencies, value);
}

/** Whether the last digit is the check digit of the others (ISO/IEC 7812-1, annex B: the Luhn formula). */
export function passesLuhn(digits: string): boolean {
  let sum = 0;
  for (let place = 0; place < digits.length; place += 1) {
    const digit = Number(digits[digits.length - 1 - place]);
    const weighted = place % 2 === 0 ? digit : digit * 2;
    sum += weighted > 9 ? weighted - 9 : weighted;
  }
  return sum % 10 === 0;
}

function parsePayer({
  region,
  cardNumber,
  cardHolder,
  email,
}: Record<string, unknown>): Result<Payer, OrderRefusal> {
  if (!isRegion(region)) return fail("malformed-member", "region");
  if (!isText(cardHolder)) return fail("malformed-member", "cardHolder");
  if (!isText(email) || !email.includes("@")) return fail("malformed-member", "email");
  if (typeof cardNumber !== "string" || !/^[0-9]{12,19}$/.test(cardNumber))
    return fail("malformed-member", "cardNumber");
  if (!passesLuhn(cardNumber)) return fail("card-number-invalid", "its check digit is wrong");
  return ok({ region, cardNumber, cardHolder, email });
}

function isRecord(json: unknown): json is Record<string, unknown> {
  return typeof json === "object" && json !== null && !Array.isArray(json);
}

function isText(value: unknown): value is string {
  return typeof value === "string" && value.length >= 1 && value.length <= 100;
}

function isAmount(value: unknown): value is number {
  return typeof value === "number" && Number.isInteger(value) && value > 0 && value <= amountCentsMax;
}
