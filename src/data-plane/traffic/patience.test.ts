import { expect, test } from "vitest";
import { openPolicedHop } from "../../../test/apparatus/policed-hop.ts";
import { openHop, openUpstream, RawClient, until } from "../../../test/fuzz/http1-hop.ts";
import type { TrafficRow } from "../../trust-log/index.ts";
import { OwnPatience } from "./patience.ts";

const slow = "GET /slow HTTP/1.1\r\nHost: a\r\n\r\n";
const routes: TrafficRow["routes"] = [{ methods: [], paths: ["/slow"], timeoutMillis: 120_000 }];
const turnMillis = 50;

function turn(): Promise<void> {
  return new Promise((resolve) => setTimeout(resolve, turnMillis));
}

test("the caller's proxy waits for a response for as long as the route's policy says, and no longer", async () => {
  await using upstream = await openUpstream(() => {});
  await using policed = await openPolicedHop(upstream.port);
  policed.police({ routes });
  using client = new RawClient(policed.port).send(slow);
  await until(() => upstream.received.length === 1);
  policed.hop.passSeconds(119);
  await turn();
  expect(client.text).toBe("");
  policed.pass(120_000);
  await until(() => client.text.endsWith("}\n"));

  expect(client.text).toMatch(/^HTTP\/1.1 504 [^]*request-timeout/);
});

test("the callee's proxy waits for its application as long, and for other requests as without a policy", async () => {
  const row: TrafficRow = { protocol: "http", routes };
  let current: TrafficRow | undefined = row;
  const patience = new OwnPatience(() => current);
  await using upstream = await openUpstream(() => {});
  await using hop = await openHop(upstream.port, {
    decide: (request, forward) =>
      forward.kind === "forward"
        ? { ...forward, upstream: patience.over(request, forward.upstream) }
        : forward,
  });
  using patient = new RawClient(hop.port).send(slow);
  using other = new RawClient(hop.port).send(slow.replace("/slow", "/other"));
  await until(() => upstream.received.length === 2);
  current = undefined;
  using late = new RawClient(hop.port).send(slow);
  await until(() => upstream.received.length === 3);

  hop.passSeconds(31);
  await until(() => [other, late].every(({ text }) => text.endsWith("}\n")));
  expect(patient.text).toBe("");
  hop.passSeconds(90);
  await until(() => patient.text.endsWith("}\n"));

  for (const { text } of [patient, other, late]) expect(text).toMatch(/^HTTP\/1.1 504 [^]*upstream-timeout/);
});
