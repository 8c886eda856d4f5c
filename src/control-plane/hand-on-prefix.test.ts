import { randomUUID } from "node:crypto";
import { join } from "node:path";
import { afterAll, beforeAll, expect, it } from "vitest";
import { temporaryFolder } from "../../test/contracts/temporary-folder.ts";
import { fakeClock } from "../../test/fakes/fake-clock.ts";
import { silentLog } from "../../test/fakes/silent-log.ts";
import { foundSmallDomain, putNode, putService } from "../../test/fakes/small-domain.ts";
import { certificateFor } from "../../test/fakes/small-trust-log.ts";
import { bytesOf } from "../base/bytes.ts";
import { canonicalJson, type Json, type JsonObject } from "../base/canonical-json.ts";
import { generateP256 } from "../crypto/index.ts";
import { signDelegation } from "../trust-log/index.ts";
import { enterHandingOn, type HandingOnRequest } from "./hand-on-prefix.ts";
import { openLogFiles } from "./log-files.ts";
import { LogWriter } from "./log-writer.ts";

const instance = randomUUID();
const open = new AsyncDisposableStack();
const errors: string[] = [];
let writer: LogWriter;

beforeAll(async () => {
  const folder = open.use(await temporaryFolder());
  const clock = fakeClock();
  const domain = await foundSmallDomain(folder.path, clock);
  const storage = open.use(await openLogFiles(join(folder.path, "log")));
  const log = { ...silentLog, error: (message: string) => void errors.push(message) };
  writer = open.use(await LogWriter.open({ storage, keys: domain.keys, clock, log }));
  await putNode(domain, writer, "edge-1");
  await putService(domain, writer, "/shop");
  const body = { instance, service: "/shop", node: "edge-1", auditKey: "" };
  await writer.write([{ role: "issuer", kind: "instance.register", body }]);
});
afterAll(() => open.disposeAsync());

/** A recall that is of another log, of a grant that is not there. */
const said = { under: "/shop", grant: 1, sequence: 1, prefix: "/shop/a", instance };
const { privateKey } = generateP256();
const recall: JsonObject = {
  ...signDelegation("", said, { certificate: certificateFor(privateKey), privateKey }),
};

function nested(levels: number): Json {
  return levels === 0 ? 0 : [nested(levels - 1)];
}

it.each<readonly [string, JsonObject, Partial<HandingOnRequest>]>([
  ["malformed-request", recall, { kind: "prefix.grant" }],
  ["malformed-request", recall, { body: bytesOf(" {}") }],
  ["malformed-request", recall, { body: new Uint8Array(8_193) }],
  // As deep as canonical JSON may be, and one too deep within a statement.
  ["malformed-request", { instance, x: nested(31) }, {}],
  ["malformed-request", { ...recall, more: 1 }, {}],
  ["not-on-this-node", { ...recall, instance: randomUUID() }, {}],
  ["not-on-this-node", recall, { node: "edge-2" }],
  ["refused", recall, {}],
])("refuses with %s what a node should not pass on: %j %j", async (reason, body, unusual) => {
  const { size } = writer.tree;
  const request = { node: "edge-1", kind: "prefix.recall", body: bytesOf(canonicalJson(body)), ...unusual };

  expect(await enterHandingOn(writer, request)).toMatchObject({ ok: false, reason });

  expect([writer.tree.size, errors]).toEqual([size, []]);
});
