import { create } from "@bufbuild/protobuf";
import { expect, it, test } from "vitest";
import {
  type Advertiser,
  instanceRowOf,
  ManyPrefixes,
  prefixNamed,
} from "../../../test/apparatus/many-prefixes.ts";
import { type FakeClock, fakeClock } from "../../../test/fakes/fake-clock.ts";
import { canonicalJson } from "../../base/canonical-json.ts";
import { generateP256 } from "../../crypto/index.ts";
import { AdvertisementSchema, type Endpoint, EndpointSchema } from "../../protocol/index.ts";
import type { InstanceRow } from "../../trust-log/index.ts";
import { type AdvertisedInstance, signAdvertisement } from "./advertisement.ts";
import { Advertisements, type RefusedAdvertisement } from "./advertisements.ts";

class Judge {
  readonly table: ManyPrefixes = new ManyPrefixes(4, 2);
  readonly clock: FakeClock = fakeClock();
  readonly refused: RefusedAdvertisement[] = [];
  readonly later: (() => void)[] = [];
  readonly advertisements: Advertisements;
  changes = 0;
  size = 1;

  constructor(dangerBelieveAll = false) {
    this.advertisements = new Advertisements({
      state: () => this.table.state,
      size: () => this.size,
      clock: this.clock,
      changed: () => {
        this.changes += 1;
      },
      refused: (refused) => this.refused.push(refused),
      dangerBelieveAll: () => dangerBelieveAll,
      later: (callback) => this.later.push(callback),
    });
  }

  /** The holder of prefixes 0 and 2. */
  get holder(): Advertiser {
    const [holder] = this.table.advertisers;
    if (holder === undefined) throw new Error("no holder");
    return holder;
  }

  said(more: Partial<AdvertisedInstance> = {}, key = this.holder.key): Endpoint {
    const { instance, service, address } = this.holder;
    const usual = { log: "genesis", instance, address, audience: "", sequence: 1, size: 1 };
    const said = { ...usual, prefixes: [prefixNamed(0)], ...more };
    const advertisement = signAdvertisement(said, key.privateKey);
    return create(EndpointSchema, { instance, service, address, advertisement });
  }

  /** Puts an instance into the log, the holder's unless it is another. */
  putInstance(more: Partial<InstanceRow> = {}, instance = this.holder.instance): void {
    const { service, key } = this.holder;
    this.table.state.instances.set(instance, { ...instanceRowOf(service, key), ...more });
  }

  take(...endpoints: Endpoint[]): void {
    this.advertisements.take(endpoints);
  }

  get advertised(): boolean {
    return this.advertisements.of(prefixNamed(0))?.has(this.holder.instance) === true;
  }

  get reasons(): string[] {
    return this.refused.map(({ reason }) => reason);
  }
}

it("believes what a holder's key has signed, and once is enough", () => {
  const judge = new Judge();
  const endpoint = judge.said();

  judge.take(endpoint);
  judge.take(endpoint);

  expect([judge.advertised, judge.changes, judge.reasons]).toEqual([true, 1, []]);
});

function endpointWith(endpoint: Endpoint, change: (statement: string) => string): Endpoint {
  const { advertisement } = endpoint;
  if (advertisement === undefined) throw new Error("none");
  const statement = Buffer.from(change(Buffer.from(advertisement.statement).toString()));
  return create(EndpointSchema, { ...endpoint, advertisement: { ...advertisement, statement } });
}

test.each<readonly [string, (judge: Judge) => Endpoint]>([
  ["malformed", (judge) => endpointWith(judge.said(), () => "{}")],
  ["malformed", (judge) => endpointWith(judge.said(), (text) => text.replace("{", '{"zone":"near",'))],
  ["other-log", (judge) => judge.said({ log: "another" })],
  ["other-instance", (judge) => judge.said({ instance: "another" })],
  ["other-instance", (judge) => judge.said({ address: "192.0.2.9:1" })],
  ["prefix-not-granted", (judge) => judge.said({ prefixes: [prefixNamed(1)] })],
  ["prefix-not-granted", (judge) => judge.said({ prefixes: ["/service/n1"] })],
  [
    "bad-signature",
    (judge) =>
      endpointWith(judge.said({ prefixes: [] }), (text) => text.replace("[]", `["${prefixNamed(0)}"]`)),
  ],
])("refuses what is %s", (reason, endpointOf) => {
  const judge = new Judge();

  judge.take(endpointOf(judge));

  expect([judge.advertised, judge.reasons]).toEqual([false, [reason]]);
  const believing = new Judge(true);
  if (reason !== "malformed") {
    believing.take(endpointOf(believing));
    expect(believing.reasons).toEqual([]);
  }
});

it("checks no signature where nothing is granted: that would cost whoever is lied to", () => {
  const judge = new Judge();
  const unsigned = endpointWith(judge.said({ prefixes: [] }), (text) =>
    text.replace("[]", `["${prefixNamed(1)}"]`),
  );

  judge.take(unsigned);

  expect(judge.reasons).toEqual(["prefix-not-granted"]);
});

it("refuses an instance that the log does not have", () => {
  const judge = new Judge();
  const endpoint = judge.said();
  judge.table.state.instances.delete(judge.holder.instance);

  judge.take(endpoint);

  expect(judge.reasons).toEqual(["unknown-instance"]);
});

it("names both parties to a prefix", () => {
  const judge = new Judge();

  judge.take(judge.said({ prefixes: [prefixNamed(1)] }));

  expect(judge.refused).toMatchObject([
    { service: "/service/n0", prefix: prefixNamed(1), holder: "/service/n1", isLate: false },
  ]);
});

it("waits for a key that the log does not have yet, and then says that it is unknown", () => {
  const judge = new Judge();
  judge.take(judge.said({}, generateP256()));
  judge.advertisements.sweep();
  expect(judge.reasons).toEqual([]);

  judge.clock.advanceSeconds(10.1);
  judge.advertisements.sweep();

  expect([judge.advertised, judge.reasons]).toEqual([false, ["unknown-key"]]);
});

it("goes on waiting over steps of the log that do not bring what it waits for", () => {
  const judge = new Judge();
  judge.take(judge.said({ size: 9 }));
  for (const size of [2, 3]) {
    judge.size = size;
    judge.advertisements.stepped();
  }
  expect([judge.advertised, judge.reasons]).toEqual([false, []]);

  judge.size = 9;
  judge.advertisements.stepped();

  expect(judge.advertised).toBe(true);
});

it("waits for the log to come as far as the advertisement says, and no longer than an honest proxy takes", () => {
  const judge = new Judge();
  judge.take(judge.said({ size: 2 }));
  expect(judge.advertised).toBe(false);
  judge.size = 2;
  judge.advertisements.stepped();
  expect(judge.advertised).toBe(true);

  judge.take(judge.said({ size: 1_000_000, sequence: 2 }));
  judge.clock.advanceSeconds(10.1);
  judge.advertisements.sweep();

  expect(judge.reasons).toEqual(["ahead-of-log"]);
});

/** Of one node's instances, and of entries that there will never be. */
function flood(table: ManyPrefixes, count: number): Endpoint[] {
  const { publicKey, signature } = signAdvertisement(
    { log: "", instance: "", address: "", audience: "", prefixes: [], sequence: 1, size: 1 },
    generateP256().privateKey,
  );
  const said = { log: "genesis", audience: "", prefixes: [], sequence: 1, size: Number.MAX_SAFE_INTEGER };
  return Array.from({ length: count }, () => {
    const { instance, service, address } = table.register("/rogue/n");
    const statement = Buffer.from(canonicalJson({ ...said, instance, address, version: 1 }));
    const advertisement = create(AdvertisementSchema, { statement, publicKey, signature });
    return create(EndpointSchema, { instance, service, address, advertisement });
  });
}

it("holds a place for who is one entry ahead, however many will wait for ever", () => {
  const judge = new Judge();
  judge.take(...flood(judge.table, 1_100), judge.said({ size: 2 }));
  expect([judge.advertised, judge.reasons]).toEqual([false, []]);

  judge.size = 2;
  judge.advertisements.stepped();

  expect([judge.advertised, judge.reasons]).toEqual([true, []]);
});

interface LateBloomer {
  readonly reason: string;
  readonly before: (judge: Judge) => void;
  readonly after: (judge: Judge) => void;
}

const holding = { holder: "/service/n0", depthMax: 2, mayDelegate: false, notAfterSeconds: 0 };
const lateBloomers: readonly LateBloomer[] = [
  {
    reason: "ahead-of-log",
    before: (judge) => {
      judge.size = 0;
    },
    after: (judge) => {
      judge.size = 1;
    },
  },
  {
    reason: "unknown-instance",
    before: (judge) => judge.table.state.instances.delete(judge.holder.instance),
    after: (judge) => judge.putInstance(),
  },
  {
    reason: "unknown-key",
    before: (judge) => judge.putInstance({ keySha256: "00" }),
    after: (judge) => judge.putInstance(),
  },
  {
    reason: "prefix-not-granted",
    before: (judge) => judge.table.state.prefixes.delete(prefixNamed(0)),
    after: ({ table }) =>
      table.state.prefixes.set(prefixNamed(0), { ...holding, index: 2, under: "", sequence: 0 }),
  },
];

test.each(lateBloomers)(
  "believes what it refused as $reason once the log bears it out, and complains once",
  ({ reason, before, after }) => {
    const judge = new Judge();
    const endpoint = judge.said();
    before(judge);
    judge.take(endpoint);
    judge.clock.advanceSeconds(10.1);
    for (const number of [7, 8]) {
      judge.advertisements.sweep();
      judge.table.state.prefixes.set(`/other/p${number}`, { ...holding, index: 1, under: "", sequence: 0 });
      judge.advertisements.stepped();
    }
    expect([judge.advertised, judge.reasons]).toEqual([false, [reason]]);

    after(judge);
    judge.advertisements.stepped();

    expect([judge.advertised, judge.reasons]).toEqual([true, [reason]]);
  },
);

it("gives a key that is late as long as any, whatever was wanting before", () => {
  const judge = new Judge();
  const endpoint = judge.said();
  judge.table.state.instances.delete(judge.holder.instance);
  judge.take(endpoint);
  judge.clock.advanceSeconds(10.1);
  judge.putInstance({ keySha256: "00" });
  judge.advertisements.stepped();

  judge.advertisements.sweep();

  expect(judge.reasons).toEqual(["unknown-instance"]);
});

it("judges so many again at one step, and the others at the next", () => {
  const judge = new Judge();
  const rogues = Array.from({ length: 1_030 }, () => judge.table.register("/rogue/n"));
  const [signed] = rogues.slice(0, 1).map((one) => judge.table.endpointOf(one, [prefixNamed(0)]));
  if (signed === undefined) throw new Error("none");
  for (const { instance } of rogues) judge.table.state.instances.delete(instance);
  judge.take(
    ...rogues.map(({ instance, address, service }) =>
      endpointWith(create(EndpointSchema, { ...signed, instance, address, service }), (text) =>
        text.replace(signed.instance, instance).replace(signed.address, address),
      ),
    ),
  );
  const { length } = judge.reasons;
  for (const { instance, service } of rogues) judge.putInstance({ service }, instance);

  judge.advertisements.stepped();
  const first = judge.reasons.length - length;
  judge.advertisements.stepped();

  expect([length, first, judge.reasons.length - length]).toEqual([1_030, 1_024, 1_030]);
});

it("does not take a word for one that has waited for its signature to be checked", () => {
  const judge = new Judge();
  const { table } = judge;
  const others = Array.from({ length: 16 }, (_, number) =>
    table.endpointOf(table.register(`/more/n${number}`), []),
  );
  judge.take(...others, judge.said({ prefixes: [] }));
  judge.take(...others, judge.said({ sequence: 2 }, generateP256()));

  for (let turn = judge.later.shift(); turn !== undefined; turn = judge.later.shift()) turn();

  expect(judge.advertised).toBe(false);
});

it("believes no older word, and the same word again after the instance was away", () => {
  const judge = new Judge();
  const older = judge.said({ sequence: 1, prefixes: [prefixNamed(0), prefixNamed(2)] });
  const newer = judge.said({ sequence: 2 });
  judge.take(newer);
  judge.take(older);
  expect([judge.advertisements.of(prefixNamed(2)), judge.reasons]).toEqual([undefined, ["old-sequence"]]);

  judge.take();
  expect(judge.advertised).toBe(false);
  judge.take(newer);

  expect([judge.advertised, judge.reasons]).toEqual([true, ["old-sequence"]]);
});

it("takes the word of a holder that has not heard of a withdrawal for late, and for a while only", () => {
  const judge = new Judge();
  judge.take(judge.said());
  judge.advertisements.stepped();
  judge.table.state.prefixes.delete(prefixNamed(0));
  judge.advertisements.stepped();

  judge.take(judge.said({ sequence: 2 }));
  judge.clock.advanceSeconds(5.1);
  judge.advertisements.sweep();
  judge.take(judge.said({ sequence: 3 }));

  expect(judge.refused.map(({ isLate }) => isLate)).toEqual([true, false]);
});

it("checks so many signatures in one turn and the others in later ones", () => {
  const judge = new Judge();
  const { table } = judge;
  const others = Array.from({ length: 40 }, (_, number) => {
    const service = `/more/n${number}`;
    const granted = { depthMax: 0, mayDelegate: false, notAfterSeconds: 0, index: 1, under: "", sequence: 0 };
    table.state.prefixes.set(`/of${service}`, { ...granted, holder: service });
    return table.endpointOf(table.register(service), [`/of${service}`]);
  });
  const believed = (): number =>
    others.filter(({ service }) => judge.advertisements.of(`/of${service}`) !== undefined).length;

  judge.take(...others);
  const counts = [believed()];
  for (let turn = judge.later.shift(); turn !== undefined; turn = judge.later.shift()) {
    turn();
    counts.push(believed());
  }

  expect(counts).toEqual([16, 32, 40]);
});
