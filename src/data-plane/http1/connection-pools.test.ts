import { expect, test } from "vitest";
import { fakeClock } from "../../../test/fakes/fake-clock.ts";
import { openUpstream, until } from "../../../test/fuzz/http1-hop.ts";
import { CoarseTimer } from "./coarse-timer.ts";
import { ConnectionPools } from "./connection-pools.ts";
import { openTcp } from "./open-tcp.ts";

test("pools of connections are one for each destination, and are drained, revoked and closed by destination", async () => {
  await using upstream = await openUpstream(() => {});
  using timer = new CoarseTimer(fakeClock());
  const pools = new ConnectionPools(timer);
  const open = openTcp({ host: "127.0.0.1", port: upstream.port });
  const [a, b] = [pools.to("a", open), pools.to("b", open)];
  const lend = (pool: typeof a): void => {
    pool.acquire({ onConnection: (connection) => connection.release(), onNoConnection: () => {} }, true);
  };
  const counts = (): number[] => [a.openCount, b.openCount];

  expect(pools.to("a", open)).toBe(a);
  lend(a);
  lend(b);
  await until(() => a.idleCount === 1 && b.idleCount === 1);
  pools.destroyAll((key) => key === "a");
  expect(counts()).toEqual([0, 1]);

  lend(a);
  await until(() => a.idleCount === 1);
  pools.remove("a");
  expect(counts()).toEqual([0, 1]);
  expect(pools.to("a", open)).not.toBe(a);

  pools.drain();
  expect(counts()).toEqual([0, 0]);
  pools.close();
  lend(b);
  expect(counts()).toEqual([0, 0]);
});
