export { openRouter, type Router, type RouterOptions } from "./open-router.ts";
export { defaultRouterLimits, type RouterLimits } from "./router-limits.ts";
