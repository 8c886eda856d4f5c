/** What TCP connections may cost a proxy. */
export interface TcpLimits {
  /** Connections to the application at once, of all callers. */
  readonly connectionsMax: number;
  /** The same of one calling instance, so that none uses up the others' share. */
  readonly connectionsPerInstanceMax: number;
  /** Connections that the application has open to one of the ports for it. */
  readonly portConnectionsMax: number;
  /** How long connecting to the application may take. */
  readonly connectMillis: number;
  /** How long the last bytes of a connection that both sides have ended may take to leave. */
  readonly lingerMillis: number;
  /** After how much silence the kernel asks whether the other end of a connection is still there. */
  readonly keepAliveMillis: number;
  /** What is read of the answer that says why a connection was refused, in bytes. */
  readonly refusalBytesMax: number;
}

/** The limits that hold unless configured otherwise. */
export const defaultTcpLimits: TcpLimits = {
  connectionsMax: 8_192,
  connectionsPerInstanceMax: 1_024,
  portConnectionsMax: 4_096,
  connectMillis: 5_000,
  lingerMillis: 30_000,
  keepAliveMillis: 60_000,
  refusalBytesMax: 8 * 1024,
};
