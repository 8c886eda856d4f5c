import { isRegion, type Order } from "./order.ts";
import { errorReply, type Reply } from "./reply.ts";
import { runService } from "./run-service.ts";
import { priceCentsByItem, SampleOrders } from "./sample-orders.ts";
import { ServiceCaller } from "./service-caller.ts";
import { readServiceEnvironment } from "./service-environment.ts";

const checkoutTimeoutMillis = 1_600;

const environment = readServiceEnvironment();
const caller = new ServiceCaller(environment.outboundUrl);
const samples = new SampleOrders(environment.seed);

await runService(
  environment,
  {
    "GET /": entryPage,
    "GET /buy": ({ query, trace }) => {
      const item = query.get("item") ?? "";
      const region = query.get("region") ?? "EU";
      if (!priceCentsByItem.has(item))
        return errorReply(404, "unknown-item", `one of ${[...priceCentsByItem.keys()].join(", ")}`);
      if (!isRegion(region)) return errorReply(400, "unknown-region", "one of EU, US, APAC");
      const order: Order = { item, ...samples.payer(region) };
      return caller.call({
        service: "/shop/checkout",
        method: "POST",
        path: "/orders",
        body: order,
        trace,
        timeoutMillis: checkoutTimeoutMillis,
      });
    },
  },
  caller,
);

function entryPage(): Reply {
  const items = [...priceCentsByItem].map(
    ([item, cents]) => `<li><a href="/buy?item=${item}">${item}</a>, ${(cents / 100).toFixed(2)}`,
  );
  const body = `<!doctype html>
<html lang="en">
<meta charset="utf-8">
<meta name="viewport" content="width=device-width">
<title>The demo shop</title>
<style>body { font: 1.1rem/1.6 system-ui; max-width: 32rem; margin: 3rem auto; padding: 0 1rem }</style>
<h1>The demo shop</h1>
<p>Each purchase goes from web to checkout, payments and ledger.</p>
<ul>
${items.join("\n")}
</ul>
</html>
`;
  return { status: 200, contentType: "text/html; charset=utf-8", body };
}
