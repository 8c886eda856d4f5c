import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { MeshInProcess, until } from "../../test/apparatus/mesh-in-process.ts";
import { openCollector } from "../../test/apparatus/otlp-collector.ts";
import type { Workload } from "../../test/apparatus/workload.ts";

const traceId = "4bf92f3577b34da6a3ce929d0e0e4736";
const parentId = "00f067aa0ba902b7";
const sampled = `00-${traceId}-${parentId}-01`;
const unsampled = `00-${traceId}-${parentId}-00`;

let collector: Awaited<ReturnType<typeof openCollector>>;
let mesh: MeshInProcess;
let front: Workload;
let back: Workload;
let untraced: Workload;

beforeAll(async () => {
  collector = await openCollector(200);
  mesh = await MeshInProcess.found();
  const tracing = { url: collector.url, sampling: { isParentBased: true, ratio: 1 } };
  front = await mesh.open("/shop/front", { tracing });
  back = await mesh.open("/shop/back", { tracing });
  untraced = await mesh.open("/shop/untraced");
  await mesh.putRule("/shop/front", "/shop/back");
  await mesh.putRule("/shop/untraced", "/shop/untraced");
  await until(async () => (await front.call(back.host)).status === 200, "a route");
  await until(async () => (await untraced.call(untraced.host)).status === 200, "a route");
});
afterAll(async () => {
  await mesh[Symbol.asyncDispose]();
  await collector[Symbol.asyncDispose]();
});

/** The trace headers that reach the application behind `to`. */
async function arriving(
  from: Workload,
  to: Workload,
  headers: Record<string, string | string[]>,
): Promise<{ traceparent: string | undefined; tracestate: string | undefined }> {
  await from.call(to.host, { path: "/echo", headers });
  const { traceparent, tracestate } = to.app.seen.at(-1)?.headers ?? {};
  return { traceparent: oneOf(traceparent), tracestate: oneOf(tracestate) };
}

function oneOf(value: string | string[] | undefined): string | undefined {
  return Array.isArray(value) ? value.join() : value;
}

describe("a traced request", () => {
  it("keeps its trace, and names the last span before the application as its parent", async () => {
    const { traceparent, tracestate } = await arriving(front, back, {
      traceparent: sampled,
      tracestate: "vendor=1",
    });

    expect(traceparent).toMatch(new RegExp(`^00-${traceId}-[0-9a-f]{16}-01$`));
    expect(traceparent).not.toContain(parentId);
    expect(tracestate).toBe("vendor=1");
  });

  it("keeps what its beginning decided about recording it", async () => {
    const { traceparent } = await arriving(front, back, { traceparent: unsampled });

    expect(traceparent).toMatch(new RegExp(`^00-${traceId}-[0-9a-f]{16}-00$`));
  });

  it.each([
    ["no traceparent", {}],
    ["a malformed one", { traceparent: `${sampled}-x` }],
    ["two of them", { traceparent: [sampled, sampled] }],
  ])("that came with %s gets a new one, and no tracestate of another", async (_, headers) => {
    const { traceparent, tracestate } = await arriving(front, back, { ...headers, tracestate: "vendor=1" });

    expect(traceparent).toMatch(/^00-[0-9a-f]{32}-[0-9a-f]{16}-01$/);
    expect(traceparent).not.toContain(traceId);
    expect(tracestate).toBeUndefined();
  });

  it("loses a tracestate that breaks the rules, and keeps its trace", async () => {
    const { traceparent, tracestate } = await arriving(front, back, {
      traceparent: sampled,
      tracestate: "Vendor=1",
    });

    expect(traceparent).toContain(traceId);
    expect(tracestate).toBeUndefined();
  });

  it("shows in the spans of both sidecars, without its query and without header values", async () => {
    await front.call(back.host, {
      path: "/seen?password=hunter2",
      headers: { traceparent: sampled, authorization: "Bearer hunter3" },
    });

    const spans = (): string => Buffer.concat(collector.bodies).toString("latin1");
    await until(() => spans().split("/seen").length >= 3, "two spans");
    expect(spans()).toContain("troth.decision");
    // The caller's sidecar got it over HTTP/1.1, and the callee's over HTTP/2.
    for (const version of ["\n\x031.1", "\n\x012"])
      expect(spans()).toContain(
        `network.protocol.version\x12${String.fromCharCode(version.length)}${version}`,
      );
    expect(spans()).not.toContain("hunter");
  });

  it("counts its spans", async () => {
    await until(
      async () => (await back.metric("troth_proxy_spans_total", { outcome: "exported" })) > 0,
      "an export",
    );
  });
});

it("passes trace headers as they came where no collector is configured", async () => {
  const malformed = { traceparent: `${sampled}-x`, tracestate: "Vendor=1" };

  expect(await arriving(untraced, untraced, malformed)).toEqual(malformed);
  expect(await arriving(untraced, untraced, {})).toEqual({ traceparent: undefined, tracestate: undefined });
});
