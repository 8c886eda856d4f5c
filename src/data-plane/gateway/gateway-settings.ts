import type { ServiceName } from "../../identity/index.ts";

/** What a gateway listens for, and where it takes what comes. */
export interface GatewaySettings {
  readonly listeners: readonly EdgeListenerSettings[];
  readonly routes: readonly GatewayRoute[];
  readonly limits: SourceLimitSettings;
}

/** A port for clients from outside. */
export interface EdgeListenerSettings {
  readonly host: string;
  readonly port: number;
  /** The first is for clients that name no host, or one that no certificate is for. Without any the port speaks plain HTTP. */
  readonly certificates: readonly EdgeCertificate[];
  /** Every request is sent to `https` on this port instead of being served. */
  readonly redirectToHttpsPort?: number;
}

/** A certificate with its key, as ordinary TLS clients are shown. */
export interface EdgeCertificate {
  /** Where it came from, for messages. */
  readonly file: string;
  /** Leaf first. */
  readonly chainPem: string;
  readonly keyPem: string;
}

/** Which requests go to a service. */
export interface GatewayRoute {
  /** `shop.example`, `*.shop.example` for one label more, or `*` for all that no other route names. In small letters. */
  readonly hosts: readonly string[];
  /** `/`, or a path without a slash at its end: that path, and what is below it. */
  readonly pathPrefix: string;
  readonly service: ServiceName;
  /** Whether the service gets the path without the prefix. */
  readonly isPrefixStripped: boolean;
}

/** What one client address may have at once (the /64 of an IPv6 one). */
export interface SourceLimitSettings {
  readonly connectionsPerAddressMax: number;
  readonly requestsPerAddressMax: number;
}

/** The limits of clients from outside that hold unless the file says otherwise. */
export const defaultSourceLimits: SourceLimitSettings = {
  connectionsPerAddressMax: 512,
  requestsPerAddressMax: 2_048,
};
