import { z } from "zod";
import { entryBodies, type RequestTokenRow } from "../trust-log/index.ts";
import { dialectVersion, textLike } from "./dialect-text.ts";

const policy = entryBodies["requesttoken.put"].shape;
const pastSecondsMax = 120;
const futureSecondsMax = 60;

/** Whether requests to a service carry request tokens: entry kinds `requesttoken.put` and `requesttoken.remove`. */
export const requestTokenPolicyManifest = z.strictObject({
  apiVersion: z.literal(dialectVersion),
  kind: z.literal("RequestTokenPolicy"),
  metadata: z.strictObject({
    name: textLike(policy.to, "a service name such as /shop/payments, or a prefix and /*, or /*").describe(
      "Which services: a service name, a prefix and `/*`, or `/*`. The most specific one counts.",
    ),
  }),
  spec: z
    .strictObject({
      mode: z
        .enum(policy.mode.options)
        .describe(
          "`granted`: callers' proxies mint them under a grant that the issuer renews. `per-request`: the issuer mints each. `off`: none, as where no policy speaks of a service; also for callers that are no proxies of Troth's.",
        ),
      window: z
        .strictObject({
          pastSeconds: whole(pastSecondsMax).describe("How old a token may be."),
          futureSeconds: whole(futureSecondsMax).describe("How far ahead its time may be."),
        })
        .exactOptional()
        .describe("By the issuer's clock; 30 and 5 unless given."),
    })
    .describe("Whether requests to these services carry request tokens, each good once."),
});

/** A request token policy as a file says it. */
export type RequestTokenPolicyManifest = z.infer<typeof requestTokenPolicyManifest>;

/** The policy of this name as the state has it. */
export function requestTokenManifestOf(
  name: string,
  { mode, window }: RequestTokenRow,
): RequestTokenPolicyManifest {
  const spec = { mode, ...(window === undefined ? {} : { window: { ...window } }) };
  return { apiVersion: dialectVersion, kind: "RequestTokenPolicy", metadata: { name }, spec };
}

function whole(max: number): z.ZodInt {
  const expected = `expected a whole number from 1 to ${max}`;
  return z.int(expected).min(1, expected).max(max, expected);
}
