import { isSuccess, jsonReply, type Reply } from "./reply.ts";
import { runService } from "./run-service.ts";
import { SampleOrders } from "./sample-orders.ts";
import { ServiceCaller } from "./service-caller.ts";
import { readServiceEnvironment } from "./service-environment.ts";
import { writeErrorLine } from "./write-error-line.ts";

const tickMillis = 20;
const inFlightMax = 200;
const webTimeoutMillis = 2_000;
const errorLineMillis = 1_000;
/** One request in so many looks at the entry page instead of buying. */
const visitsPerPurchase = 20;
const rateDefault = 40;
const rateMax = 2_000;

const environment = readServiceEnvironment();
const requestsPerSecond = readRate(process.env["LOAD_RATE"]);
const caller = new ServiceCaller(environment.outboundUrl);
const samples = new SampleOrders(environment.seed);

/** `skipped` are those that were due while too many were unanswered. */
const counts = { sent: 0, succeeded: 0, refused: 0, failed: 0, skipped: 0, inFlight: 0 };
let failuresUntold = 0;
let toldMillis = Number.NEGATIVE_INFINITY;
let isStopping = false;

let owed = 0;
let tickedMillis = performance.now();
const ticking = setInterval(() => {
  const nowMillis = performance.now();
  // After a pause of the whole machine the missed requests are not made up for.
  owed = Math.min(owed + ((nowMillis - tickedMillis) / 1_000) * requestsPerSecond, requestsPerSecond + 1);
  tickedMillis = nowMillis;
  for (; owed >= 1; owed -= 1) {
    if (counts.inFlight < inFlightMax) void visit();
    else counts.skipped += 1;
  }
}, tickMillis);

await runService(
  environment,
  { "GET /counts": () => jsonReply(200, { requestsPerSecond, ...counts }) },
  { [Symbol.dispose]: stop },
  caller,
);

async function visit(): Promise<void> {
  const path =
    counts.sent % visitsPerPurchase === 0 ? "/" : `/buy?item=${samples.item()}&region=${samples.region()}`;
  counts.sent += 1;
  counts.inFlight += 1;
  const reply = await caller.call({
    service: "/shop/web",
    method: "GET",
    path,
    trace: {},
    timeoutMillis: webTimeoutMillis,
  });
  counts.inFlight -= 1;
  if (isSuccess(reply)) counts.succeeded += 1;
  else if (!isStopping) fell(reply);
}

function fell(reply: Reply): void {
  if (reply.status < 500) counts.refused += 1;
  else counts.failed += 1;
  failuresUntold += 1;
  if (performance.now() - toldMillis < errorLineMillis) return;
  writeErrorLine(environment.service, "requests failed", {
    requests: failuresUntold,
    status: reply.status,
    answer: reply.body.slice(0, 300).trim(),
  });
  failuresUntold = 0;
  toldMillis = performance.now();
}

function stop(): void {
  isStopping = true;
  clearInterval(ticking);
}

function readRate(text = String(rateDefault)): number {
  const rate = Number(text);
  if (!(rate > 0 && rate <= rateMax))
    throw new RangeError(`LOAD_RATE is no number above 0 and up to ${rateMax}: ${text}`);
  return rate;
}
