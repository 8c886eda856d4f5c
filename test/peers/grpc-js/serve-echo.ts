import { parseArgs } from "node:util";
import {
  Server,
  ServerCredentials,
  type ServerDuplexStream,
  type ServerUnaryCall,
  type sendUnaryData,
} from "@grpc/grpc-js";
import { echoService } from "./echo-service.ts";

// Sends every message back, on 127.0.0.1 at the port in PORT; with little room or short-lived connections, if asked to.

const { values } = parseArgs({
  options: {
    "streams-max": { type: "string", default: "1000" },
    "connection-age-millis": { type: "string", default: "3600000" },
  },
});
const server = new Server({
  "grpc.max_concurrent_streams": Number(values["streams-max"]),
  "grpc.max_connection_age_ms": Number(values["connection-age-millis"]),
  "grpc.max_connection_age_grace_ms": 10_000,
  "grpc.max_receive_message_length": -1,
  "grpc.max_send_message_length": -1,
});
server.addService(echoService, {
  Unary: (call: ServerUnaryCall<object, object>, answer: sendUnaryData<object>) => answer(null, call.request),
  Duplex: (call: ServerDuplexStream<object, object>) => {
    // What cannot be sent is not read either.
    call.on("data", (message: object) => {
      if (call.write(message)) return;
      call.pause();
      call.once("drain", () => call.resume());
    });
    call.on("end", () => call.end());
    call.on("error", () => {});
  },
});
server.bindAsync(`127.0.0.1:${process.env["PORT"]}`, ServerCredentials.createInsecure(), (error) => {
  if (error !== null) throw error;
  process.stdout.write("ready\n");
});
process.once("SIGTERM", () => server.forceShutdown());
