import { once } from "node:events";
import net from "node:net";
import { expect, it } from "vitest";
import { HalfOpen, sourceOf } from "./half-open.ts";

it.each([
  ["10.0.0.1", "10.0.0.1"],
  ["127.0.0.1", "loopback"],
  ["127.8.0.1", "loopback"],
  ["::1", "loopback"],
  ["::ffff:127.0.0.1", "loopback"],
  ["::ffff:10.0.0.1", "10.0.0.1"],
  ["2001:db8:1:2:3:4:5:6", "2001:db8:1:2::/64"],
  ["2001:db8:1:2:ffff::1", "2001:db8:1:2::/64"],
])("the source of %s is %s", (remoteAddress, source) => {
  const socket = Object.defineProperty(new net.Socket(), "remoteAddress", { value: remoteAddress });

  expect(sourceOf(socket)).toBe(source);
});

it("ends the oldest of a source's handshakes for one too many, and no other's", () => {
  const halfOpen = new HalfOpen(256);
  const from = (remoteAddress: string, remotePort: number): net.Socket =>
    Object.defineProperties(new net.Socket(), {
      remoteAddress: { value: remoteAddress },
      remotePort: { value: remotePort },
    });
  const other = from("10.0.0.2", 1);
  const done = from("10.0.0.1", 1);
  const flood = Array.from({ length: 257 }, (_, place) => from("10.0.0.1", place + 2));
  halfOpen.add(other);
  halfOpen.add(done);
  halfOpen.settle(done);

  for (const socket of flood) halfOpen.add(socket);

  expect(flood.map(({ destroyed }) => destroyed)).toEqual(flood.map((_, place) => place === 0));
  expect([other.destroyed, done.destroyed]).toEqual([false, false]);
});

it("forgets a connection that closes", async () => {
  const halfOpen = new HalfOpen(256);
  const sockets = Array.from({ length: 256 }, () => new net.Socket());
  for (const [place, socket] of sockets.entries())
    halfOpen.add(
      Object.defineProperties(socket, { remoteAddress: { value: "10.0.0.1" }, remotePort: { value: place } }),
    );
  const [first, second] = sockets;
  first?.destroy();
  if (first !== undefined) await once(first, "close");

  halfOpen.add(
    Object.defineProperties(new net.Socket(), {
      remoteAddress: { value: "10.0.0.1" },
      remotePort: { value: 999 },
    }),
  );

  expect(second?.destroyed).toBe(false);
});
