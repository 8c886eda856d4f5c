import { z } from "zod";
import { entryBodies } from "../trust-log/index.ts";

/** The `apiVersion` of everything that this dialect says. */
export const dialectVersion = "troth/v1";

/** Text that a field of an entry takes: the trust log's own schema decides, the message is for people. */
export function textLike(schema: z.ZodType, what: string): z.ZodString {
  const expected = `expected ${what}`;
  return z.string(expected).refine((text) => schema.safeParse(text).success, expected);
}

/** The name of a service that people may register. */
export const servicePrefixText: z.ZodString = textLike(
  entryBodies["service.put"].shape.name,
  "a service name such as /shop/payments",
).refine(
  (name) => !/^\/troth(\/|$)/.test(name),
  "expected another name: /troth is reserved for the mesh's own processes",
);
