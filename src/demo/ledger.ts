import { type Charge, parseCharge } from "./order.ts";
import { errorReply, jsonReply, type Reply } from "./reply.ts";
import { runService } from "./run-service.ts";
import { readServiceEnvironment } from "./service-environment.ts";

const entriesMax = 5_000;
const listedMax = 100;
const listedDefault = 20;

interface Entry extends Charge {
  readonly number: number;
}

/** The newest entries, oldest first; the totals go on counting those that were dropped. */
const entries: Entry[] = [];
const totalCents: Record<Charge["currency"], number> = { EUR: 0, USD: 0, SGD: 0 };
let count = 0;

await runService(readServiceEnvironment(), {
  "POST /entries": ({ body }) => book(body),
  "GET /entries": ({ query }) => list(query.get("limit") ?? String(listedDefault)),
  "GET /total": () => jsonReply(200, { entries: count, totalCents }),
});

function book(body: unknown): Reply {
  const charge = parseCharge(body);
  if (!charge.ok) return errorReply(422, charge.reason, charge.detail);
  count += 1;
  entries.push({ number: count, ...charge.value });
  if (entries.length > entriesMax) entries.shift();
  totalCents[charge.value.currency] += charge.value.amountCents;
  return jsonReply(201, { number: count });
}

function list(limit: string): Reply {
  if (!/^[0-9]{1,3}$/.test(limit) || Number(limit) < 1 || Number(limit) > listedMax)
    return errorReply(400, "malformed-limit", `a whole number from 1 to ${listedMax}`);
  return jsonReply(200, { entries: entries.slice(-Number(limit)).reverse() });
}
