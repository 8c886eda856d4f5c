import { afterAll, beforeAll, expect, it } from "vitest";
import { MeshInProcess, until } from "../../test/apparatus/mesh-in-process.ts";
import type { Workload } from "../../test/apparatus/workload.ts";
import { type HandMember, openHandMember } from "../data-plane/index.ts";
import type { SkippableStep } from "../request-token/index.ts";
import { tokenAttacks } from "./token-attacks.ts";

let mesh: MeshInProcess;
let front: Workload;
let victim: HandMember;
let thief: HandMember;
const open = new AsyncDisposableStack();

beforeAll(async () => {
  mesh = open.use(await MeshInProcess.found());
  await mesh.put("requesttoken.put", { to: "/*", mode: "granted" });
  front = await mesh.open("/shop/front");
  for (const service of ["/shop/payments", "/shop/mallory", "/shop/ledger"]) await mesh.putService(service);
  victim = open.use(await openHandMember(mesh.proxyOptions("/shop/payments")));
  thief = open.use(await openHandMember(mesh.proxyOptions("/shop/mallory")));
  for (const caller of ["/shop/front", "/shop/payments", "/shop/mallory"])
    for (const callee of ["/shop/ledger", "/shop/other"]) await mesh.putRule(caller, callee);
}, 60_000);
afterAll(() => open.disposeAsync(), 60_000);

/** The steps without which an attack gets through. */
const stoppedBy: Readonly<Record<string, readonly SkippableStep[]>> = {
  replay: ["nonce"],
  "replay-on-another-connection": ["tag"],
  "replay-at-another-proxy": ["request", "tag"],
  "replay-after-restart": ["tag"],
  // Just after the edge of a key period its key is another one.
  "stale-clock": ["window", "tag"],
  "fast-clock": ["window"],
  "stolen-grant": ["certificate", "tag"],
};

it.each(tokenAttacks)(
  "stops $name as $expected",
  async ({ name, expected }) => {
    const { control, answer } = await attack(name, []);

    expect(control).toEqual([200]);
    expect(answer).toMatchObject({ status: expect.any(Number), reason: expected });
  },
  60_000,
);

it.each(tokenAttacks)(
  "lets $name through where a test domain leaves out what stops it",
  async ({ name }) => {
    const { control, answer } = await attack(name, stoppedBy[name] ?? []);

    expect(control).toEqual([200]);
    expect(answer).toMatchObject({ status: 200 });
  },
  60_000,
);

async function attack(name: string, skipped: readonly SkippableStep[]) {
  const found = tokenAttacks.find((one) => one.name === name);
  if (found === undefined) throw new Error(`no attack is called ${name}`);
  const dangerSkippedTokenSteps = new Set(skipped);
  const start = async (service: string): Promise<Workload> => {
    const workload = await mesh.open(service, { dangerSkippedTokenSteps });
    await mesh.settled();
    await until(async () => (await front.call(workload.host)).status === 200, "a route");
    return workload;
  };
  await using ledger = await start("/shop/ledger");
  await using other = await start("/shop/other");
  const replies = await found.run({
    victim,
    thief,
    callee: placeOf(ledger),
    other: placeOf(other),
    request: { method: "GET", path: "/" },
    restart: async () => placeOf(await start("/shop/ledger")),
  });
  return { control: replies.slice(0, -1).map(({ status }) => status), answer: replies.at(-1) };
}

function placeOf({ service, sidecar }: Workload) {
  return { service, address: sidecar.inboundAddress };
}
