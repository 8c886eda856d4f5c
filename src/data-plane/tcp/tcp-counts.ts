/** What a proxy has carried over TCP in one direction, counted as it passes. */
export interface TcpCounts {
  /** Connections that are open now. */
  open: number;
  toAppBytes: number;
  fromAppBytes: number;
}

/** Nothing yet. */
export function noTcpCounts(): TcpCounts {
  return { open: 0, toAppBytes: 0, fromAppBytes: 0 };
}
