import { writeFile } from "node:fs/promises";
import { join } from "node:path";
import { freePort } from "../../src/cli/free-port.ts";
import { envoy } from "./foreign-proxy.ts";
import { RunningCommand } from "./running-command.ts";

const sockets = "envoy.extensions.transport_sockets.tls.v3";
const managers = "envoy.extensions.filters.network.http_connection_manager.v3";
const options = "envoy.extensions.upstreams.http.v3.HttpProtocolOptions";

/** An Envoy that takes plain HTTP and calls a sidecar over mutual TLS, with secrets that it gets over SDS alone. */
export interface SdsEnvoy extends AsyncDisposable {
  readonly address: string;
  readonly command: RunningCommand;
}

/** Starts it; `agent` is host:port of the agent's endpoint. */
export async function openSdsEnvoy(plan: {
  readonly folder: string;
  readonly agent: string;
  readonly to: string;
  readonly peerId: string;
  readonly trustDomain: string;
}): Promise<SdsEnvoy> {
  const port = await freePort();
  const secret = (name: string): object => ({
    name,
    sds_config: {
      resource_api_version: "V3",
      api_config_source: {
        api_type: "GRPC",
        transport_api_version: "V3",
        grpc_services: [{ envoy_grpc: { cluster_name: "agent" } }],
      },
    },
  });
  const context = {
    alpn_protocols: ["h2"],
    tls_params: { tls_minimum_protocol_version: "TLSv1_3", tls_maximum_protocol_version: "TLSv1_3" },
    tls_certificate_sds_secret_configs: [secret("default")],
    combined_validation_context: {
      default_validation_context: {
        match_typed_subject_alt_names: [{ san_type: "URI", matcher: { exact: plan.peerId } }],
      },
      validation_context_sds_secret_config: secret(`spiffe://${plan.trustDomain}`),
    },
  };
  const tls = {
    name: "tls",
    typed_config: {
      "@type": `type.googleapis.com/${sockets}.UpstreamTlsContext`,
      common_tls_context: context,
    },
  };
  const manager = {
    "@type": `type.googleapis.com/${managers}.HttpConnectionManager`,
    stat_prefix: "in",
    route_config: {
      virtual_hosts: [
        { name: "all", domains: ["*"], routes: [{ match: { prefix: "/" }, route: { cluster: "out" } }] },
      ],
    },
    http_filters: [
      {
        name: "router",
        typed_config: { "@type": "type.googleapis.com/envoy.extensions.filters.http.router.v3.Router" },
      },
    ],
  };
  const config = {
    node: { id: "envoy", cluster: "envoy" },
    static_resources: {
      listeners: [
        {
          name: "in",
          address: socketOf(`127.0.0.1:${port}`),
          filter_chains: [{ filters: [{ name: "http", typed_config: manager }] }],
        },
      ],
      clusters: [clusterOf("agent", plan.agent), { ...clusterOf("out", plan.to), transport_socket: tls }],
    },
  };
  const file = join(plan.folder, "sds-envoy.json");
  await writeFile(file, JSON.stringify(config));
  const command = new RunningCommand(envoy, [
    "--concurrency",
    "1",
    "--disable-hot-restart",
    "-l",
    "warn",
    "-c",
    file,
  ]);
  return {
    address: `127.0.0.1:${port}`,
    command,
    [Symbol.asyncDispose]: () => command[Symbol.asyncDispose](),
  };
}

function clusterOf(name: string, address: string): object {
  return {
    name,
    type: "STATIC",
    connect_timeout: "5s",
    typed_extension_protocol_options: {
      [options]: {
        "@type": `type.googleapis.com/${options}`,
        explicit_http_config: { http2_protocol_options: {} },
      },
    },
    load_assignment: {
      cluster_name: name,
      endpoints: [{ lb_endpoints: [{ endpoint: { address: socketOf(address) } }] }],
    },
  };
}

function socketOf(address: string): object {
  const [host, port] = address.split(":");
  return { socket_address: { address: host, port_value: Number(port) } };
}
