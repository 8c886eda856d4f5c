import { Code, ConnectError, createContextKey } from "@connectrpc/connect";
import type { ConnectionCaller } from "./connection-caller.ts";

/** Context of every call: who is at the other end of its connection. */
export const connectionCaller: ReturnType<typeof createContextKey<ConnectionCaller>> =
  createContextKey<ConnectionCaller>(
    {
      attest: () => {
        throw new ConnectError("the caller is not known", Code.PermissionDenied);
      },
    },
    { description: "the process at the other end" },
  );
