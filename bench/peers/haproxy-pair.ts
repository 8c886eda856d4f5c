import { type ConfiguredProxy, openConfiguredPair, type PairPlan } from "./configured-pair.ts";
import { findProgram } from "./find-program.ts";
import type { Peer } from "./pair.ts";

const program = "/usr/sbin/haproxy";

/** HAProxy with HTTP/1.1 between the proxies. */
export const haproxyHttp1Peer: Peer = peerWith("haproxy h1", "http/1.1");

/** HAProxy with HTTP/2 between the proxies. */
export const haproxyHttp2Peer: Peer = peerWith("haproxy h2", "h2");

function peerWith(name: string, protocol: "h2" | "http/1.1"): Peer {
  const proxy: ConfiguredProxy = {
    name,
    extension: ".cfg",
    outbound: (plan) => outboundConfig(plan, protocol),
    inbound: inboundConfig,
    command: (file) => [program, "-db", "-q", "-f", file],
  };
  return {
    name,
    about: `${protocol === "h2" ? "HTTP/2" : "HTTP/1.1"} between the proxies, one thread each, no log`,
    find: () => findProgram(program, "-v", "apt-get install haproxy"),
    open: (stage) => openConfiguredPair(proxy, stage),
  };
}

/** Plain HTTP in, mutual TLS out. */
export function outboundConfig(
  { outboundPort, inboundPort, authority }: PairPlan,
  protocol: "h2" | "http/1.1",
): string {
  const tls = `ssl crt ${authority.bundleFile} ca-file ${authority.rootFile} verify required ssl-min-ver TLSv1.3 no-ssl-reuse`;
  return haproxyConfig(`
frontend outbound
  bind 127.0.0.1:${outboundPort} backlog 4096
  default_backend inbound
backend inbound
  http-reuse always
  server inbound 127.0.0.1:${inboundPort} ${tls} alpn ${protocol} pool-max-conn 1024 pool-purge-delay 300s`);
}

/** Mutual TLS in, plain HTTP to the application. */
export function inboundConfig({ inboundPort, appPort, authority }: PairPlan): string {
  const tls = `ssl crt ${authority.bundleFile} ca-file ${authority.rootFile} verify required ssl-min-ver TLSv1.3 no-tls-tickets`;
  return haproxyConfig(`
frontend inbound
  bind 127.0.0.1:${inboundPort} backlog 4096 ${tls} alpn h2,http/1.1
  default_backend app
backend app
  http-reuse always
  server app 127.0.0.1:${appPort} pool-max-conn 1024 pool-purge-delay 300s`);
}

function haproxyConfig(content: string): string {
  return `global
  nbthread 1
  maxconn 8000
  tune.ssl.cachesize 0
defaults
  mode http
  timeout connect 5s
  timeout client 300s
  timeout server 300s
  timeout http-keep-alive 300s
  option http-keep-alive
${content.trimStart()}
`;
}
