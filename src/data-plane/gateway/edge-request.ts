import { isIPv6 } from "node:net";
import { fail, ok, type Result } from "../../base/result.ts";
import type { CompletedRequest, RequestHead, RequestObserver, Verdict } from "../forwarding/index.ts";
import { type HeadEdits, headerLines } from "../http1/index.ts";
import { OutboundRequest } from "../open-outbound.ts";
import { audienceHeader } from "../peer-decider.ts";
import type { ProxyContext } from "../proxy-context.ts";
import type { HttpVersion } from "../request-trace.ts";
import type { Route, RouteRefusal, ServiceRouter } from "../routing/index.ts";
import { type GatewayRoutes, withoutPrefix } from "./gateway-routes.ts";
import type { SourceLimits } from "./source-limits.ts";

/** What all connections of a gateway's clients share. */
export interface EdgeContext {
  readonly context: ProxyContext;
  readonly router: Pick<ServiceRouter, "routeTo">;
  readonly sources: SourceLimits;
  /** The routes in force; others after the file has changed. */
  readonly routes: () => GatewayRoutes;
}

/** A client from outside, as its connection shows it. */
export interface EdgeClient {
  /** Its address as the limits count it. */
  readonly source: string;
  readonly address: string;
  readonly scheme: "http" | "https";
}

/** Requests of a client from outside, one after the other: each is given its way as one of the gateway's own. */
export class EdgeRequest implements RequestObserver {
  readonly #edge: EdgeContext;
  readonly #client: EdgeClient;
  readonly #request: OutboundRequest;
  readonly #hops: ClientLines;
  #target: string | undefined;
  #isCounted = false;

  constructor(edge: EdgeContext, client: EdgeClient, version: HttpVersion) {
    this.#edge = edge;
    this.#client = client;
    this.#hops = new ClientLines(client);
    // Whoever is outside learns nothing of the mesh but the status.
    this.#request = new OutboundRequest(edge.context, (head) => this.#find(head), version, "stranger");
  }

  decide(head: RequestHead): Verdict {
    this.#target = undefined;
    const verdict = this.#request.decide(head);
    if (verdict.kind !== "forward") return verdict;
    const { edits } = verdict;
    const merged: HeadEdits = {
      ...edits,
      remove: [...edits.remove, ...claimedLines(head)],
      add: Buffer.concat([edits.add, this.#hops.for(head.host)]),
      ...(this.#target === undefined ? {} : { target: this.#target }),
    };
    return { ...verdict, edits: merged };
  }

  onComplete(event: CompletedRequest): void {
    if (this.#isCounted) this.#edge.sources.removeRequest(this.#client.source);
    this.#isCounted = false;
    this.#request.onComplete(event);
  }

  #find({ host, target }: RequestHead): Result<Route, RouteRefusal> {
    const { routes, router, sources } = this.#edge;
    const { source } = this.#client;
    const route = routes().find(host, target);
    if (!route.ok) return route;
    if (!sources.addRequest(source)) return fail("too-many-requests", source);
    this.#isCounted = true;
    const { service, pathPrefix, isPrefixStripped } = route.value;
    if (isPrefixStripped) this.#target = withoutPrefix(target, pathPrefix);
    const found = router.routeTo(service);
    return found.ok ? ok(found.value) : found;
  }
}

/** The lines that say who asked, and how, written anew for each request (RFC 7239, and what came before it). */
class ClientLines {
  readonly #client: EdgeClient;
  #host = "";
  #lines: Uint8Array = new Uint8Array(0);

  constructor(client: EdgeClient) {
    this.#client = client;
  }

  for(host: string): Uint8Array {
    if (host === this.#host && this.#lines.length > 0) return this.#lines;
    const { address, scheme } = this.#client;
    const node = isIPv6(address) ? `"[${address}]"` : address;
    this.#host = host;
    this.#lines = headerLines([
      ["X-Forwarded-For", address],
      ["X-Forwarded-Proto", scheme],
      ["X-Forwarded-Host", host],
      [audienceHeader, "stranger"],
      ["Forwarded", `for=${node};host="${host}";proto=${scheme}`],
    ]);
    return this.#lines;
  }
}

const claimPrefixes = ["x-forwarded-", "x-envoy-"];
const claims: ReadonlySet<string> = new Set(["forwarded", "x-real-ip"]);

/**
 * The names of the lines by which a client says who it is or where it comes from. Only a proxy may say so, and there is
 * none before this one. (`X-Forwarded-Client-Cert` and `troth-` names never go on from anybody.)
 */
function claimedLines(head: RequestHead): string[] {
  const names: string[] = [];
  const note = (name: string): void => {
    if (claims.has(name) || claimPrefixes.some((prefix) => name.startsWith(prefix))) names.push(name);
  };
  if (!("section" in head)) {
    for (const { name } of head.fields) note(name);
    return names;
  }
  const { section } = head;
  for (let line = 0; line < section.lines; line += 1)
    note(section.window.toString("latin1", section.nameStart(line), section.nameEnd(line)).toLowerCase());
  return names;
}
