import { expect, it } from "vitest";
import { chooseTcpPorts, parseTcpPort, tcpPortsMax, tcpVariable } from "./tcp-ports.ts";

it.each([
  ["15432=/shop/db", { service: "/shop/db", port: 15_432 }],
  ["15432=shop/db", { service: "/shop/db", port: 15_432 }],
  ["/shop/db", { service: "/shop/db", port: undefined }],
])("%s is a port and a service", (text, expected) => {
  expect(parseTcpPort(text)).toEqual(expected);
});

it.each([
  ["", "no TCP port"],
  ["0=/shop/db", "no TCP port"],
  ["65536=/shop/db", "no TCP port"],
  ["x=/shop/db", "no TCP port"],
  ["15432=", "no TCP port"],
  ["/shop/db=15432", "no TCP port"],
  ["/Shop/db", "DNS label"],
])("%s is refused, with what to write", (text, message) => {
  expect(() => parseTcpPort(text)).toThrow(message);
});

it("names the variable of a service for its name", async () => {
  const [one] = await chooseTcpPorts(["/shop/my-db.main"]).catch(() => []);
  expect(one).toBeUndefined();
  expect(tcpVariable(parseTcpPort("/shop/my-db").service)).toBe("TROTH_TCP_SHOP_MY_DB");
});

it("chooses a free port where none is given, another for each", async () => {
  const ports = await chooseTcpPorts(["/shop/db", "/shop/queue", "15432=/shop/cache"]);

  expect(ports.map(({ service }) => service)).toEqual(["/shop/db", "/shop/queue", "/shop/cache"]);
  expect(new Set(ports.map(({ port }) => port)).size).toBe(3);
});

it.each([
  ["a service twice", ["1=/shop/db", "2=/shop/db"], "only one"],
  ["two services with one variable", ["1=/shop/db", "2=/shop-db"], "TROTH_TCP_SHOP_DB"],
  ["a port twice", ["1=/shop/db", "1=/shop/queue"], "port 1 twice"],
  ["too many", Array.from({ length: tcpPortsMax + 1 }, (_, place) => `/shop/db-${place}`), "at most 64"],
])("refuses %s", async (_, flags, message) => {
  await expect(chooseTcpPorts(flags)).rejects.toThrow(message);
});
