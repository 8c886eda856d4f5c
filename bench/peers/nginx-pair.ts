import { openConfiguredPair, type PairPlan } from "./configured-pair.ts";
import { findProgram } from "./find-program.ts";
import type { Peer } from "./pair.ts";
import { leafName } from "./test-authority.ts";

/** Debian installs it where an ordinary user's PATH does not lead. */
export const nginxProgram = "/usr/sbin/nginx";

/** How to get nginx. */
export const nginxMissing = "apt-get install nginx-light";

/** nginx with HTTP/1.1 between the proxies, the only protocol that it speaks to upstreams. */
export const nginxPeer: Peer = {
  name: "nginx",
  about: "HTTP/1.1 between the proxies, one process each, no log",
  find: () => findProgram(nginxProgram, "-v", nginxMissing),
  open: (stage) =>
    openConfiguredPair(
      {
        name: "nginx",
        extension: ".conf",
        outbound: outboundConfig,
        inbound: inboundConfig,
        command: nginxCommand,
      },
      stage,
    ),
};

/** nginx in the foreground. */
export function nginxCommand(configFile: string): [string, ...string[]] {
  return [nginxProgram, "-e", "stderr", "-c", configFile];
}

/** Plain HTTP in, mutual TLS out. */
export function outboundConfig({ outboundPort, inboundPort, authority, scratch }: PairPlan): string {
  return nginxConfig(
    scratch,
    `
  upstream inbound { server 127.0.0.1:${inboundPort}; keepalive 512; keepalive_requests 1000000000; keepalive_timeout 300s; }
  server {
    listen 127.0.0.1:${outboundPort} backlog=4096;
    location / {
      proxy_pass https://inbound;
      proxy_http_version 1.1;
      proxy_set_header Connection "";
      proxy_set_header Host $host;
      proxy_ssl_protocols TLSv1.3;
      proxy_ssl_certificate ${authority.chainFile};
      proxy_ssl_certificate_key ${authority.keyFile};
      proxy_ssl_trusted_certificate ${authority.rootFile};
      proxy_ssl_verify on;
      proxy_ssl_verify_depth 2;
      proxy_ssl_name ${leafName};
      proxy_ssl_session_reuse off;
    }
  }`,
  );
}

/** Mutual TLS in, plain HTTP to the application. */
export function inboundConfig({ inboundPort, appPort, authority, scratch }: PairPlan): string {
  return nginxConfig(
    scratch,
    `
  upstream app { server 127.0.0.1:${appPort}; keepalive 512; keepalive_requests 1000000000; keepalive_timeout 300s; }
  server {
    listen 127.0.0.1:${inboundPort} ssl backlog=4096;
    ssl_protocols TLSv1.3;
    ssl_certificate ${authority.chainFile};
    ssl_certificate_key ${authority.keyFile};
    ssl_client_certificate ${authority.rootFile};
    ssl_verify_client on;
    ssl_verify_depth 2;
    ssl_session_tickets off;
    ssl_session_cache off;
    location / {
      proxy_pass http://app;
      proxy_http_version 1.1;
      proxy_set_header Connection "";
      proxy_set_header Host $host;
    }
  }`,
  );
}

/** One process, and buffers that hold the bodies of all scenarios. */
export function nginxConfig(scratch: string, content: string): string {
  return `daemon off;
master_process off;
worker_rlimit_nofile 20000;
pid ${scratch}.pid;
error_log stderr error;
events { worker_connections 8192; multi_accept on; }
http {
  access_log off;
  server_tokens off;
  tcp_nodelay on;
  keepalive_requests 1000000000;
  keepalive_timeout 300s;
  client_body_temp_path ${scratch}.body;
  proxy_temp_path ${scratch}.proxy;
  fastcgi_temp_path ${scratch}.fastcgi;
  uwsgi_temp_path ${scratch}.uwsgi;
  scgi_temp_path ${scratch}.scgi;
  client_body_buffer_size 64k;
  proxy_buffer_size 32k;
  proxy_buffers 4 32k;
  proxy_busy_buffers_size 64k;
${content.trimStart()}
}
`;
}
