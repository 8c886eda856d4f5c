export { type DemoRule, type DemoService, demoRules, demoServices, demoTrustDomain } from "./shop.ts";
