import { isJson, isSuccess, jsonReply, type Reply } from "./reply.ts";
import { runService } from "./run-service.ts";
import { ServiceCaller, type TraceHeaders } from "./service-caller.ts";
import { readServiceEnvironment } from "./service-environment.ts";

// A neighbour that somebody has broken into. She has her own identity and sidecar, like every other service, and asks
// for what is none of her business. With `--once` she tries once, prints what she got, and ends with code 1 if refused.

const ledgerTimeoutMillis = 2_000;

const environment = readServiceEnvironment();
const caller = new ServiceCaller(environment.outboundUrl);

if (environment.once) {
  const loot = await readLedger({});
  console.log(JSON.stringify(report(loot), undefined, 2));
  process.exitCode = isSuccess(loot) ? 0 : 1;
  caller[Symbol.dispose]();
} else {
  await runService(
    environment,
    { "GET /attack/ledger": async ({ trace }) => jsonReply(200, report(await readLedger(trace))) },
    caller,
  );
}

function readLedger(trace: TraceHeaders): Promise<Reply> {
  return caller.call({
    service: "/shop/ledger",
    method: "GET",
    path: "/entries?limit=10",
    trace,
    timeoutMillis: ledgerTimeoutMillis,
  });
}

function report(loot: Reply): { attack: string; succeeded: boolean; status: number; body: unknown } {
  return {
    attack: "GET /entries of /shop/ledger",
    succeeded: isSuccess(loot),
    status: loot.status,
    body: bodyOf(loot),
  };
}

function bodyOf(loot: Reply): unknown {
  try {
    return isJson(loot) ? JSON.parse(loot.body) : loot.body;
  } catch {
    return loot.body;
  }
}
