import { fail, ok, type Result } from "../../base/result.ts";
import { pathOf } from "../request-trace.ts";
import type { GatewayRoute } from "./gateway-settings.ts";

/** Why no route takes a request. */
export type GatewayRouteRefusal = "host-not-served" | "no-route";

/** The routes of a gateway by host. The host that is named most exactly decides alone; of its prefixes, the longest. */
export class GatewayRoutes {
  readonly #byHost = new Map<string, GatewayRoute[]>();

  constructor(routes: readonly GatewayRoute[]) {
    for (const route of routes)
      for (const host of route.hosts) {
        const known = this.#byHost.get(host);
        if (known === undefined) this.#byHost.set(host, [route]);
        else known.push(route);
      }
    for (const known of this.#byHost.values())
      known.sort((left, right) => right.pathPrefix.length - left.pathPrefix.length);
  }

  /** Whether some route is for a host, which may have a port. */
  serves(host: string): boolean {
    return this.#routesOf(host) !== undefined;
  }

  /** The route of a request by its host, which may have a port, and its target in normal form. */
  find(host: string, target: string): Result<GatewayRoute, GatewayRouteRefusal> {
    const routes = this.#routesOf(host);
    if (routes === undefined) return fail("host-not-served", host);
    const path = pathOf(target);
    const route = routes.find(({ pathPrefix }) => isBelow(path, pathPrefix));
    return route === undefined ? fail("no-route", path) : ok(route);
  }

  #routesOf(host: string): readonly GatewayRoute[] | undefined {
    const name = host.replace(/:[0-9]*$/, "");
    const parent = name.indexOf(".");
    return (
      this.#byHost.get(name) ??
      (parent > 0 ? this.#byHost.get(`*${name.slice(parent)}`) : undefined) ??
      this.#byHost.get("*")
    );
  }
}

/** A target without a prefix of its path, component by component. */
export function withoutPrefix(target: string, pathPrefix: string): string {
  if (pathPrefix === "/") return target;
  const rest = target.slice(pathPrefix.length);
  return rest.startsWith("/") ? rest : `/${rest}`;
}

function isBelow(path: string, prefix: string): boolean {
  if (prefix === "/") return path.startsWith("/");
  return path.startsWith(prefix) && (path.length === prefix.length || path[prefix.length] === "/");
}
