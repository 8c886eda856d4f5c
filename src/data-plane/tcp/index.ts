export { AppTcp } from "./app-tcp.ts";
export { openTcpPort, type TcpListener, type TcpPort } from "./open-tcp-port.ts";
export { RefusedTcpLog } from "./refused-tcp.ts";
export { noTcpCounts, type TcpCounts } from "./tcp-counts.ts";
export { TcpExchange } from "./tcp-exchange.ts";
export { defaultTcpLimits, type TcpLimits } from "./tcp-limits.ts";
export { type RefusalReason, readRefusal, type TcpRefusal } from "./tcp-refusal.ts";
export { TcpShares } from "./tcp-shares.ts";
