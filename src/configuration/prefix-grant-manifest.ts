import { z } from "zod";
import { type EntryBody, entryBodies, type PrefixRow } from "../trust-log/index.ts";
import { dialectVersion, servicePrefixText } from "./dialect-text.ts";

const grant = entryBodies["prefix.grant"].shape;
const expectedTime = "expected a time such as 2027-01-31T12:00:00Z";

/** A name that a service may serve besides its own: entry kinds `prefix.grant` and `prefix.withdraw`. */
export const prefixGrantManifest = z.strictObject({
  apiVersion: z.literal(dialectVersion),
  kind: z.literal("PrefixGrant"),
  metadata: z.strictObject({
    name: servicePrefixText.describe("The prefix, such as `/media/video`: no registered service's own name."),
  }),
  spec: z
    .strictObject({
      holder: servicePrefixText.describe("The registered service that may serve it."),
      depth: z
        .int("expected a whole number from 0 to 15")
        .refine((depth) => grant.depthMax.safeParse(depth).success, "expected a whole number from 0 to 15")
        .default(0)
        .describe("How many components below the prefix are covered; none unless given."),
      mayDelegate: z
        .boolean()
        .default(false)
        .describe("Whether the holder may hand parts of it on; not unless given."),
      notAfter: z.iso
        .datetime({ precision: 0, error: expectedTime, abort: true })
        .refine((text) => isEnd(secondsOf(text)), expectedTime)
        .exactOptional()
        .describe("When it ends by itself, by the time of the log; never unless given."),
    })
    .describe("Who may serve the prefix, and how much of it."),
});

/** A prefix grant as a file says it. */
export type PrefixGrantManifest = z.infer<typeof prefixGrantManifest>;

/** The prefix authority's grant as the state has it; undefined for what a holder has handed on, which is its own word. */
export function prefixGrantOf(name: string, row: PrefixRow | undefined): PrefixGrantManifest | undefined {
  if (row === undefined || row.under !== "") return undefined;
  const { holder, depthMax: depth, mayDelegate, notAfterSeconds } = row;
  const spec = { holder, depth, mayDelegate };
  const ends = notAfterSeconds === 0 ? {} : { notAfter: textOfSeconds(notAfterSeconds) };
  return {
    apiVersion: dialectVersion,
    kind: "PrefixGrant",
    metadata: { name },
    spec: { ...spec, ...ends },
  };
}

/** The body of the entry that grants it. */
export function prefixGrantBody({ metadata, spec }: PrefixGrantManifest): EntryBody<"prefix.grant"> {
  const { holder, depth: depthMax, mayDelegate, notAfter } = spec;
  const notAfterSeconds = notAfter === undefined ? 0 : secondsOf(notAfter);
  return { prefix: metadata.name, holder, depthMax, mayDelegate, notAfterSeconds };
}

function secondsOf(text: string): number {
  return Date.parse(text) / 1000;
}

/** The log's 0 is no end. */
function isEnd(seconds: number): boolean {
  return seconds !== 0 && grant.notAfterSeconds.safeParse(seconds).success;
}

function textOfSeconds(seconds: number): string {
  return new Date(seconds * 1000).toISOString().replace(".000Z", "Z");
}
