import { Code, ConnectError, type HandlerContext } from "@connectrpc/connect";
import { base64Of } from "../../base/bytes.ts";
import { peerKey } from "../../transport/index.ts";
import type { TrustState } from "../../trust-log/index.ts";
import type { ControlPlaneParts } from "./parts.ts";

/** Whether a key is a joined node's or an operator's. */
export function isMemberKey(state: TrustState, key: Uint8Array): boolean {
  return nodeOf(state, key) !== undefined || operatorOf(state, key) !== undefined;
}

/** The joined node whose key the caller proved to hold. */
export function callingNode({ issuer }: ControlPlaneParts, context: HandlerContext): string {
  const key = context.values.get(peerKey);
  const node = key === undefined ? undefined : nodeOf(issuer.writer.state, key);
  if (node !== undefined) return node;
  throw new ConnectError(key === undefined ? "no-certificate" : "unknown-node", Code.Unauthenticated);
}

/** The operator whose key the caller proved to hold. */
export function callingOperator({ issuer }: ControlPlaneParts, context: HandlerContext): string {
  const key = context.values.get(peerKey);
  const operator = key === undefined ? undefined : operatorOf(issuer.writer.state, key);
  if (operator !== undefined) return operator;
  throw new ConnectError(key === undefined ? "no-certificate" : "not-an-operator", Code.Unauthenticated);
}

function nodeOf(state: TrustState, key: Uint8Array): string | undefined {
  const encoded = base64Of(key);
  for (const [node, { nodeKey }] of state.nodes.entries()) if (nodeKey === encoded) return node;
  return undefined;
}

function operatorOf(state: TrustState, key: Uint8Array): string | undefined {
  const encoded = base64Of(key);
  for (const [name, { role, publicKey, isRemoved }] of state.authors.entries())
    if (publicKey === encoded && role === "operator" && !isRemoved) return name;
  return undefined;
}
