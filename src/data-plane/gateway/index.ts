export {
  defaultSourceLimits,
  type EdgeCertificate,
  type EdgeListenerSettings,
  type GatewayRoute,
  type GatewaySettings,
  type SourceLimitSettings,
} from "./gateway-settings.ts";
export { type Gateway, type GatewayOptions, openGateway, type SettingsRefusal } from "./open-gateway.ts";
