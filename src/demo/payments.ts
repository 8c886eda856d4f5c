import { parseCharge } from "./order.ts";
import { errorReply, isSuccess, jsonReply } from "./reply.ts";
import { runService } from "./run-service.ts";
import { ServiceCaller } from "./service-caller.ts";
import { readServiceEnvironment } from "./service-environment.ts";

const ledgerTimeoutMillis = 800;

const environment = readServiceEnvironment();
const caller = new ServiceCaller(environment.outboundUrl);

await runService(
  environment,
  {
    "POST /charges": async ({ body, trace }) => {
      const charge = parseCharge(body);
      if (!charge.ok) return errorReply(422, charge.reason, charge.detail);
      const booked = await caller.call({
        service: "/shop/ledger",
        method: "POST",
        path: "/entries",
        body: charge.value,
        trace,
        timeoutMillis: ledgerTimeoutMillis,
      });
      if (!isSuccess(booked)) return booked;
      const { orderId, amountCents, currency } = charge.value;
      return jsonReply(201, { orderId, amountCents, currency, state: "charged" });
    },
  },
  caller,
);
