import { describe, expect, it } from "vitest";
import { applicationConfig } from "./application.ts";
import type { PairPlan } from "./configured-pair.ts";
import * as envoy from "./envoy-pair.ts";
import * as haproxy from "./haproxy-pair.ts";
import * as nginx from "./nginx-pair.ts";

const plan: PairPlan = {
  outboundPort: 20_001,
  inboundPort: 20_002,
  appPort: 20_003,
  authority: {
    rootFile: "/ca/root.pem",
    chainFile: "/ca/chain.pem",
    keyFile: "/ca/key.pem",
    bundleFile: "/ca/bundle.pem",
    credentials: { cert: "", key: "" },
  },
  scratch: "/run/scratch",
};

/** What makes a pair comparable with Troth's: both sides show a certificate and check the other's, TLS 1.3 alone. */
const configurations: readonly (readonly [string, string, readonly string[]])[] = [
  [
    "nginx outbound",
    nginx.outboundConfig(plan),
    [
      "127.0.0.1:20001",
      "127.0.0.1:20002",
      "proxy_ssl_verify on",
      "proxy_ssl_protocols TLSv1.3;",
      "proxy_ssl_certificate /ca/chain.pem",
      "proxy_ssl_session_reuse off",
    ],
  ],
  [
    "nginx inbound",
    nginx.inboundConfig(plan),
    [
      "127.0.0.1:20002 ssl",
      "127.0.0.1:20003",
      "ssl_verify_client on",
      "ssl_protocols TLSv1.3;",
      "ssl_session_tickets off",
    ],
  ],
  [
    "haproxy outbound, h1",
    haproxy.outboundConfig(plan, "http/1.1"),
    [
      "127.0.0.1:20001",
      "127.0.0.1:20002",
      "verify required",
      "ssl-min-ver TLSv1.3",
      "alpn http/1.1 ",
      "no-ssl-reuse",
    ],
  ],
  ["haproxy outbound, h2", haproxy.outboundConfig(plan, "h2"), ["alpn h2 "]],
  [
    "haproxy inbound",
    haproxy.inboundConfig(plan),
    [
      "127.0.0.1:20002",
      "127.0.0.1:20003",
      "verify required",
      "ssl-min-ver TLSv1.3",
      "alpn h2,http/1.1",
      "no-tls-tickets",
    ],
  ],
  [
    "envoy outbound",
    JSON.stringify(envoy.outboundConfig(plan)),
    [
      '"port_value":20001',
      '"port_value":20002',
      '"tls_minimum_protocol_version":"TLSv1_3"',
      '"alpn_protocols":["h2"]',
      "http2_protocol_options",
      '"trusted_ca"',
      '"match_typed_subject_alt_names"',
    ],
  ],
  [
    "envoy inbound",
    JSON.stringify(envoy.inboundConfig(plan)),
    [
      '"port_value":20002',
      '"port_value":20003',
      '"require_client_certificate":true',
      '"alpn_protocols":["h2","http/1.1"]',
      '"disable_stateless_session_resumption":true',
    ],
  ],
  [
    "envoy outbound, gRPC",
    JSON.stringify(envoy.outboundConfig(plan, "HTTP2")),
    ['"codec_type":"HTTP2"', '"tls_minimum_protocol_version":"TLSv1_3"', '"alpn_protocols":["h2"]'],
  ],
  [
    "envoy inbound, gRPC",
    JSON.stringify(envoy.inboundConfig(plan, "HTTP2")),
    ['"require_client_certificate":true', '{"http2_protocol_options":{}}'],
  ],
];

describe("configurations", () => {
  it.each(configurations)("%s says everything that the comparison rests on", (_, text, parts) => {
    expect(parts.filter((part) => !text.includes(part))).toEqual([]);
  });

  it.each(configurations)("%s listens and connects on loopback only", (_, text) => {
    const addresses = text.match(/[0-9]+\.[0-9]+\.[0-9]+\.[0-9]+/g) ?? [];

    expect(new Set(addresses)).toEqual(new Set(["127.0.0.1"]));
  });

  it("no line of the application's has a word that nginx takes for too long", () => {
    const words = applicationConfig(20_003, "/run/scratch").split(/["\s]+/);

    expect(Math.max(...words.map(({ length }) => length))).toBeLessThan(4_096);
  });
});
