import { type Charge, currencies, parseOrder } from "./order.ts";
import { errorReply, isSuccess, jsonReply } from "./reply.ts";
import { runService } from "./run-service.ts";
import { priceCentsByItem } from "./sample-orders.ts";
import { ServiceCaller } from "./service-caller.ts";
import { readServiceEnvironment } from "./service-environment.ts";

const paymentsTimeoutMillis = 1_200;

const environment = readServiceEnvironment();
const caller = new ServiceCaller(environment.outboundUrl);
let ordersTaken = 0;

await runService(
  environment,
  {
    "POST /orders": async ({ body, trace }) => {
      const order = parseOrder(body);
      if (!order.ok) return errorReply(422, order.reason, order.detail);
      const { item, ...payer } = order.value;
      const amountCents = priceCentsByItem.get(item);
      if (amountCents === undefined) return errorReply(422, "unknown-item", item);
      ordersTaken += 1;
      const orderId = `order-${environment.seed}-${String(ordersTaken).padStart(6, "0")}`;
      const charge: Charge = { orderId, amountCents, currency: currencies[payer.region], ...payer };
      const charged = await caller.call({
        service: "/shop/payments",
        method: "POST",
        path: "/charges",
        body: charge,
        trace,
        timeoutMillis: paymentsTimeoutMillis,
      });
      if (!isSuccess(charged)) return charged;
      return jsonReply(201, { orderId, item, amountCents, currency: charge.currency, state: "paid" });
    },
  },
  caller,
);
