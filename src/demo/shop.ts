/** One application of the demo shop and what the mesh is told about it. */
export interface DemoService {
  /** Its service name in the mesh. */
  readonly name: string;
  /** The file in this folder that `node` runs. */
  readonly script: string;
  readonly dataClass: "public" | "internal" | "confidential" | "restricted";
  readonly team: string;
  readonly environment: "demo";
  readonly labels: Readonly<Record<string, string>>;
}

/** Who may call what in the demo shop; whatever no rule names is refused. */
export interface DemoRule {
  readonly from: string;
  readonly to: string;
  readonly methods: readonly string[];
  /** Path prefixes; any when empty. */
  readonly paths: readonly string[];
}

/** The trust domain that the demo founds. */
export const demoTrustDomain = "shop.example";

/** The applications of the demo shop; callees stand before their callers, so that starting them in order works. */
export const demoServices: readonly DemoService[] = [
  {
    name: "/shop/ledger",
    script: "ledger.ts",
    dataClass: "confidential",
    team: "finance",
    environment: "demo",
    labels: { tier: "data", holds: "card-data", region: "eu" },
  },
  {
    name: "/shop/payments",
    script: "payments.ts",
    dataClass: "confidential",
    team: "payments",
    environment: "demo",
    labels: { tier: "back", holds: "card-data" },
  },
  {
    name: "/shop/checkout",
    script: "checkout.ts",
    dataClass: "internal",
    team: "orders",
    environment: "demo",
    labels: { tier: "back" },
  },
  {
    name: "/shop/web",
    script: "web.ts",
    dataClass: "public",
    team: "storefront",
    environment: "demo",
    labels: { tier: "front" },
  },
  {
    name: "/shop/load",
    script: "load.ts",
    dataClass: "internal",
    team: "storefront",
    environment: "demo",
    labels: { tier: "client" },
  },
  {
    name: "/shop/mallory",
    script: "mallory.ts",
    dataClass: "internal",
    team: "marketing",
    environment: "demo",
    labels: { tier: "back", state: "compromised" },
  },
];

/** What the shop needs to work and nothing more; `/shop/mallory` has no rule at all. */
export const demoRules: readonly DemoRule[] = [
  { from: "/shop/load", to: "/shop/web", methods: ["GET"], paths: [] },
  { from: "/shop/web", to: "/shop/checkout", methods: ["POST"], paths: ["/orders"] },
  { from: "/shop/checkout", to: "/shop/payments", methods: ["POST"], paths: ["/charges"] },
  { from: "/shop/payments", to: "/shop/ledger", methods: ["POST"], paths: ["/entries"] },
];
