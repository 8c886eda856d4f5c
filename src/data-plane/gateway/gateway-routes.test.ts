import { describe, expect, it } from "vitest";
import { parseServiceName, type ServiceName } from "../../identity/index.ts";
import { GatewayRoutes, withoutPrefix } from "./gateway-routes.ts";

describe("the route of a request", () => {
  const routes = new GatewayRoutes([
    route(["shop.example"], "/", "/shop/web"),
    route(["shop.example"], "/api", "/shop/api"),
    route(["shop.example"], "/api/v2", "/shop/next"),
    route(["*.shop.example"], "/img", "/shop/images"),
    route(["*"], "/", "/other/all"),
  ]);

  it.each([
    ["of a path that nothing else names", "shop.example", "/", "/shop/web"],
    ["of a prefix", "shop.example", "/api", "/shop/api"],
    ["of what is below a prefix", "shop.example", "/api/x?y=/api/v2", "/shop/api"],
    ["of the longest prefix", "shop.example", "/api/v2/x", "/shop/next"],
    ["of a prefix as far as whole components go", "shop.example", "/apix", "/shop/web"],
    ["of a prefix before a query", "shop.example", "/api?x", "/shop/api"],
    ["of a host with a port", "shop.example:8443", "/", "/shop/web"],
    ["of one label more", "cdn.shop.example", "/img/1", "/shop/images"],
    ["of any host, where two labels more are none of *.", "a.b.shop.example", "/img/1", "/other/all"],
    ["of any host, where an address is asked for", "[::1]:80", "/", "/other/all"],
  ])("is that %s", (_, host, target, service) => {
    expect(routes.find(host, target)).toMatchObject({ ok: true, value: { service } });
  });

  it("is decided by the most exact host alone", () => {
    expect(routes.find("cdn.shop.example", "/")).toMatchObject({ ok: false, reason: "no-route" });
  });

  it("is none for a host that nothing names, nor for all of a server", () => {
    const few = new GatewayRoutes([route(["*.shop.example"], "/", "/shop/web")]);

    expect(few.find("shop.example", "/")).toMatchObject({ ok: false, reason: "host-not-served" });
    expect(few.find(".shop.example", "/")).toMatchObject({ ok: false, reason: "host-not-served" });
    expect(few.find("a.shop.example", "*")).toMatchObject({ ok: false, reason: "no-route" });
    expect([few.serves("a.shop.example:1"), few.serves("shop.example")]).toEqual([true, false]);
  });
});

describe("a target without its prefix", () => {
  it.each([
    ["/api/x?y", "/api", "/x?y"],
    ["/api", "/api", "/"],
    ["/api?y", "/api", "/?y"],
    ["/api/", "/api", "/"],
    ["/x", "/", "/x"],
  ])("%s without %s is %s", (target, prefix, rest) => {
    expect(withoutPrefix(target, prefix)).toBe(rest);
  });
});

function route(hosts: readonly string[], pathPrefix: string, service: string) {
  return { hosts, pathPrefix, service: serviceNameOf(service), isPrefixStripped: false };
}

function serviceNameOf(text: string): ServiceName {
  const name = parseServiceName(text);
  if (!name.ok) throw new Error(name.reason);
  return name.value;
}
