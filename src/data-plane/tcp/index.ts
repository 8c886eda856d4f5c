export { AppTcp } from "./app-tcp.ts";
export { openTcpPort, type TcpListener, type TcpPort } from "./open-tcp-port.ts";
export { RefusedTcpLog } from "./refused-tcp.ts";
export { noTcpCounts, type TcpCounts } from "./tcp-counts.ts";
export { defaultTcpLimits, type TcpLimits } from "./tcp-limits.ts";
