import type { Peer } from "./pair.ts";

/** No proxy at all: what the client and the application cost. */
export const directPeer: Peer = {
  name: "direct",
  about: "no proxy and no TLS: the client asks the application",
  find: () => ({ version: "" }),
  open: async ({ appPort }) => ({
    address: `127.0.0.1:${appPort}`,
    host: "127.0.0.1",
    outbound: [],
    inbound: [],
    [Symbol.asyncDispose]: async () => {},
  }),
};
