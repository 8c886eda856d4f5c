import { createHash } from "node:crypto";
import type { HeaderSection } from "./header-section.ts";

/** What asks the next server for a WebSocket, and tells a client that it has one (RFC 6455, 4). */
export const upgradeLines: string = "Connection: Upgrade\r\nUpgrade: websocket\r\n";

/**
 * The key of a head of HTTP/1.1 that asks for a WebSocket and for nothing else: one `Upgrade`, which `Connection`
 * names, one key, one version, and no body that another server might see where the WebSocket begins. Empty for every
 * other head.
 */
export function webSocketKeyOf(section: HeaderSection): string {
  if (!isUpgradeToWebSocket(section)) return "";
  if (section.isChunked || section.contentLength !== undefined) return "";
  if (section.nominated?.some((name) => name.startsWith("sec-websocket-")) === true) return "";
  const [key = "", otherKey] = section.valuesOf("sec-websocket-key");
  const [version = "", otherVersion] = section.valuesOf("sec-websocket-version");
  if (otherKey !== undefined || otherVersion !== undefined) return "";
  return keyPattern.test(key) && versionPattern.test(version) ? key : "";
}

/** Whether a head of HTTP/1.1 that says 101 gives the WebSocket that was asked for with a key. */
export function isWebSocketAccepted(section: HeaderSection, key: string): boolean {
  const [accept, other] = section.valuesOf("sec-websocket-accept");
  return isUpgradeToWebSocket(section) && other === undefined && accept === webSocketAcceptOf(key);
}

/** What answers a key (RFC 6455, 4.2.2): it proves that the server knows the protocol, and nothing else. */
export function webSocketAcceptOf(key: string): string {
  return createHash("sha1").update(`${key}258EAFA5-E914-47DA-95CA-C5AB0DC85B11`).digest("base64");
}

/** Sixteen bytes in base64. */
const keyPattern = /^[A-Za-z0-9+/]{22}==$/;
const versionPattern = /^[0-9]{1,3}$/;

function isUpgradeToWebSocket(section: HeaderSection): boolean {
  const [protocol = "", other] = section.valuesOf("upgrade");
  const isNamed = section.nominated?.includes("upgrade") === true;
  return isNamed && other === undefined && protocol.toLowerCase() === "websocket";
}
