import { base64Of } from "../base/bytes.ts";
import type { TrustState } from "../trust-log/index.ts";

/** Whether a key is one under which the log has the control plane serve. */
export function isServerOf(state: TrustState, key: Uint8Array | undefined): boolean {
  if (key === undefined) return false;
  const encoded = base64Of(key);
  for (const [, { role, publicKey, isRemoved }] of state.authors.entries())
    if (role === "server" && publicKey === encoded && !isRemoved) return true;
  return false;
}
