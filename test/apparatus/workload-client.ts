import net from "node:net";
import { type Client, createClient } from "@connectrpc/connect";
import { createGrpcTransport, Http2SessionManager } from "@connectrpc/connect-node";
import { SecretDiscoveryService, SpiffeWorkloadAPI } from "../../src/protocol/index.ts";

/** A client of the Workload API and of SDS, over one connection of this process. */
export interface WorkloadClient extends Disposable {
  readonly api: Client<typeof SpiffeWorkloadAPI>;
  /** As {@link api}, without the header that every call takes. */
  readonly headerless: Client<typeof SpiffeWorkloadAPI>;
  readonly secrets: Client<typeof SecretDiscoveryService>;
}

/** Connects to an endpoint as `SPIFFE_ENDPOINT_SOCKET` names it. */
export function connectWorkload(address: string): WorkloadClient {
  const baseUrl = "http://localhost";
  const sessionManager = new Http2SessionManager(baseUrl, {}, { createConnection: () => dial(address) });
  const transport = createGrpcTransport({ baseUrl, sessionManager });
  const named = createGrpcTransport({
    baseUrl,
    sessionManager,
    interceptors: [
      (next) => (request) => {
        request.header.set("workload.spiffe.io", "true");
        return next(request);
      },
    ],
  });
  return {
    api: createClient(SpiffeWorkloadAPI, named),
    headerless: createClient(SpiffeWorkloadAPI, transport),
    secrets: createClient(SecretDiscoveryService, transport),
    [Symbol.dispose]: () => sessionManager.abort(),
  };
}

function dial(address: string): net.Socket {
  const [, path] = /^unix:\/\/(.*)$/.exec(address) ?? [];
  if (path !== undefined) return net.connect(path);
  const [, host = "", port] = /^tcp:\/\/(.*):([0-9]+)$/.exec(address) ?? [];
  return net.connect({ host, port: Number(port) });
}
