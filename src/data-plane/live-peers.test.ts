import net from "node:net";
import { expect, it } from "vitest";
import { checkSvid, trustBundlesOf } from "../identity/index.ts";
import { testDomain, testNowSeconds, testSvid, testWorld, valueOf } from "../identity/svid-for-tests.ts";
import type { CheckedPeer } from "./check-peer.ts";
import { LivePeers } from "./live-peers.ts";

const domain = testDomain("shop.example");
const issued = testSvid(domain.issuer, "spiffe://shop.example/shop/front", undefined, testWorld());
const svid = valueOf(checkSvid(issued.chain, trustBundlesOf(domain.bundle), testNowSeconds));
const fields = { svid, service: "/shop/front", instance: "5b2c5d5e-7f55-4b7e-9d0e-2a3f1c9d7e11" };
// oxlint-disable-next-line typescript/no-unsafe-type-assertion -- as if the log had named it
const peer = fields as CheckedPeer;
const endSeconds = svid.notAfterSeconds;
const always = (): boolean => true;

it("keeps a connection through the last second of its peer's certificate and closes it after", () => {
  const live = new LivePeers(always);
  const socket = new net.Socket();
  live.add(socket, { peer, nowSeconds: testNowSeconds });

  live.expire(endSeconds + 0.9);
  const isOpenInTheLastSecond = !socket.destroyed;
  live.expire(endSeconds + 1);

  expect([isOpenInTheLastSecond, socket.destroyed]).toEqual([true, true]);
});

it("tells once, half a minute before the end, that a connection is to be replaced", () => {
  const live = new LivePeers(always);
  const told: number[] = [];
  const socket = new net.Socket();
  let nowSeconds = testNowSeconds;
  live.add(socket, { peer, nowSeconds, expiring: () => told.push(nowSeconds) });

  for (; nowSeconds <= endSeconds; nowSeconds += 1) live.expire(nowSeconds);

  expect(told).toEqual([endSeconds - 30]);
});

it("tells with two fifths of the certificate's life left where the connection can be replaced", () => {
  const live = new LivePeers(always);
  const told: number[] = [];
  const { notBeforeSeconds } = svid;
  const expiring = (secondsLeft: number): void => void told.push(secondsLeft);
  live.add(new net.Socket(), { peer, nowSeconds: notBeforeSeconds, expiring, isReplaceable: true });

  for (let nowSeconds = notBeforeSeconds; nowSeconds <= endSeconds; nowSeconds += 1) live.expire(nowSeconds);

  expect(told).toEqual([Math.floor((endSeconds - notBeforeSeconds) * 0.4)]);
});

it("tells a connection that began in the last half minute when half of what was left is over", () => {
  const live = new LivePeers(always);
  const told: number[] = [];
  let nowSeconds = endSeconds - 10;
  live.add(new net.Socket(), { peer, nowSeconds, expiring: () => told.push(nowSeconds) });

  for (; nowSeconds <= endSeconds; nowSeconds += 1) live.expire(nowSeconds);

  expect(told).toEqual([endSeconds - 5]);
});

it("does not take a connection that closed while it was judged", () => {
  const live = new LivePeers(always);
  const socket = new net.Socket();
  socket.destroy();

  expect(live.add(socket, { peer, nowSeconds: testNowSeconds })).toBe(false);
  expect(live.size).toBe(0);
});

it("breaks a connection whose peer the log dropped between its check and its admission", () => {
  const live = new LivePeers(() => false);
  const socket = new net.Socket();

  expect(live.add(socket, { peer, nowSeconds: testNowSeconds })).toBe(false);
  expect(socket.destroyed).toBe(true);
});

it("breaks the connections that the log no longer names, and counts each once", async () => {
  let isNamed = true;
  const live = new LivePeers(() => isNamed);
  const sockets = [new net.Socket(), new net.Socket()];
  for (const socket of sockets) live.add(socket, { peer, nowSeconds: testNowSeconds });
  const before = [live.closeDropped(), live.countOf(peer.instance)];
  isNamed = false;

  const closed = [live.closeDropped(), live.closeDropped()];
  await new Promise((resolve) => setImmediate(resolve));

  expect(before).toEqual([0, 2]);
  expect(closed).toEqual([2, 0]);
  expect(sockets.map(({ destroyed }) => destroyed)).toEqual([true, true]);
  expect([live.size, live.countOf(peer.instance)]).toEqual([0, 0]);
});
