import { readFile } from "node:fs/promises";
import { z } from "zod";

const valueSchema = z.union([
  z.object({ stringValue: z.string() }).transform(({ stringValue }) => stringValue),
  z.object({ intValue: z.string() }).transform(({ intValue }) => intValue),
  z.looseObject({}).transform((value) => JSON.stringify(value)),
]);
const attributesSchema = z
  .array(z.object({ key: z.string(), value: valueSchema }))
  .default([])
  .transform((list) => Object.fromEntries(list.map(({ key, value }) => [key, value])));
const batchSchema = z.object({
  resourceSpans: z.array(
    z.object({
      resource: z.object({ attributes: attributesSchema }),
      scopeSpans: z.array(
        z.object({
          spans: z.array(
            z.object({
              traceId: z.string(),
              spanId: z.string(),
              parentSpanId: z.string().default(""),
              name: z.string(),
              /** 2 is a server's span, 3 a client's. */
              kind: z.number(),
              attributes: attributesSchema,
            }),
          ),
        }),
      ),
    }),
  ),
});

/** A span as a collector got it. */
export interface CollectedSpan {
  readonly traceId: string;
  readonly spanId: string;
  readonly parentSpanId: string;
  readonly kind: number;
  /** The service whose sidecar made it, with the side: `shop.web server`. */
  readonly at: string;
  readonly attributes: Readonly<Record<string, string>>;
}

/** The spans in a file of OTLP JSON lines. */
export async function readSpans(file: string): Promise<CollectedSpan[]> {
  const lines = (await readFile(file, "utf8")).split("\n").slice(0, -1);
  return lines.flatMap((line) =>
    batchSchema.parse(JSON.parse(line)).resourceSpans.flatMap(({ resource, scopeSpans }) =>
      scopeSpans.flatMap(({ spans }) =>
        spans.map((span) => ({
          ...span,
          at: `${resource.attributes["service.name"]} ${span.kind === 2 ? "server" : "client"}`,
        })),
      ),
    ),
  );
}

/** The spans of a trace from its beginning on, each the parent of the next; stops where a span has not one child. */
export function chainOf(spans: readonly CollectedSpan[], traceId: string, parentId: string): CollectedSpan[] {
  const chain: CollectedSpan[] = [];
  let parent = parentId;
  for (;;) {
    const children = spans.filter((span) => span.traceId === traceId && span.parentSpanId === parent);
    const [child] = children;
    if (child === undefined || children.length > 1) return chain;
    chain.push(child);
    parent = child.spanId;
  }
}
