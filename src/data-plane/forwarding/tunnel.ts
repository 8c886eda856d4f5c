import {
  type Http1Limits,
  type Http1RequestHead,
  scanConnectHead,
  scanRequestHead,
  upgradeLines,
  webSocketAcceptOf,
} from "../http1/index.ts";
import { type HeaderField, headerField } from "../http2/index.ts";
import type { RequestHead, ResponseHead } from "./forwarding.ts";
import { LineFields } from "./line-fields.ts";
import { type Answer, problemAnswer } from "./problem-answer.ts";
import { isEventStream } from "./response-fields.ts";
import type { ServeOptions } from "./serve-options.ts";

/**
 * Whether a response opens the tunnel that its request asked for: 101 in HTTP/1.1 (RFC 9110, 15.2.2), anything
 * successful in HTTP/2 (RFC 9113, 8.5; RFC 8441, 4).
 */
export function opensTunnel({ tunnel }: RequestHead, head: ResponseHead): boolean {
  if (tunnel === undefined) return false;
  return "section" in head ? head.status === 101 : head.status >= 200 && head.status < 300;
}

/** The head of a response that opens a tunnel and says nothing else, for an upstream that speaks no HTTP. */
export const tunnelOpened: ResponseHead = {
  fields: [headerField(":status", "200")],
  status: 200,
  contentLength: undefined,
};

/** Reads the next head of a client's; that of a CONNECT where it may open a tunnel with it. */
export function scanHead(
  window: Buffer,
  at: number,
  limits: Http1Limits,
  { tunnels }: Pick<ServeOptions, "tunnels">,
): ReturnType<typeof scanRequestHead> {
  const head = scanRequestHead(window, at, window.length, limits);
  const mayConnect = head.kind === "refused" && head.reason === "method-unsupported";
  if (!mayConnect || tunnels?.kinds.includes("connect") !== true) return head;
  return scanConnectHead(window, at, window.length, limits);
}

/** The refusal of an upgrade that is to anything but a WebSocket, or is not well-formed, or not to be had here. */
export function refusedUpgrade(
  { wantsUpgrade, tunnel }: Http1RequestHead,
  { tunnels, audience }: ServeOptions,
): Answer | undefined {
  if (!wantsUpgrade || (tunnel !== undefined && tunnels?.kinds.includes(tunnel) === true)) return undefined;
  const detail = "of upgrades only that of a GET to one WebSocket, with its key and version, is carried";
  return problemAnswer({ status: 501, reason: "upgrade-unsupported", detail }, audience);
}

/**
 * How a server of HTTP/1.1 that answers a request for a WebSocket with an ordinary success is reported in HTTP/2, where
 * that would open the tunnel: as 501, and to a proxy with what it was, which that one gives its client.
 */
export function unopenedFields(
  fields: readonly HeaderField[],
  status: number,
  isClientProxy: boolean,
): HeaderField[] {
  const [, ...rest] = fields;
  const told = [notImplemented, ...rest];
  return isClientProxy ? [...told, headerField(unopenedName, String(status))] : told;
}

/** The head of an answer that opened nothing as the server gave it, where another proxy has said how that was. */
export function unopenedHead(head: ResponseHead): ResponseHead {
  if ("section" in head || head.status !== 501) return head;
  const told = head.fields.find(({ name }) => name === unopenedName)?.value ?? "";
  return /^2[0-9][0-9]$/.test(told) ? { ...head, status: Number(told) } : head;
}

/** Every proxy drops such a line from what it passes on, so no application can say it. */
const unopenedName = "troth-status";
const notImplemented = headerField(":status", "501");

/**
 * The bytes that tell a client of HTTP/1.1 that it has the WebSocket it asked for with a key (RFC 6455, 4.2.2), or
 * that what follows is what comes through its CONNECT.
 */
export function openingBytes(
  head: ResponseHead,
  { tunnel, webSocketKey }: Pick<Http1RequestHead, "tunnel" | "webSocketKey">,
  first: Buffer,
): Buffer {
  if (tunnel === "connect") return Buffer.concat([connectionEstablished, first]);
  let text = `HTTP/1.1 101 Switching Protocols\r\n${upgradeLines}Sec-WebSocket-Accept: ${webSocketAcceptOf(webSocketKey)}\r\n`;
  const [, ...fields] = new LineFields().opening(head);
  for (const { line } of fields) text += line;
  return Buffer.concat([Buffer.from(`${text}\r\n`, "latin1"), first]);
}

const connectionEstablished = Buffer.from("HTTP/1.1 200 Connection established\r\n\r\n", "latin1");

/** How long the body of a response may be silent. */
export function silenceMillisOf(
  head: ResponseHead,
  { bodyIdleMillis, eventStreamIdleMillis }: Http1Limits,
): number {
  return isEventStream(head) ? Math.max(bodyIdleMillis, eventStreamIdleMillis) : bodyIdleMillis;
}
