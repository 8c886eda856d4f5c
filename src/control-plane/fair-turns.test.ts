import { expect, it } from "vitest";
import { FairTurns } from "./fair-turns.ts";

/** What happens in which order: each piece of work by its caller, and a dot for each turn of the event loop. */
async function orderOf(turns: FairTurns, callers: readonly string[]): Promise<string> {
  let order = "";
  let isOver = false;
  const loop = (): void => {
    order += ".";
    if (!isOver) setImmediate(loop);
  };
  const work = callers.map(async (caller) => {
    const isTurn = await turns.take(caller);
    order += isTurn ? caller : `(no ${caller})`;
  });
  setImmediate(loop);
  await Promise.all(work);
  isOver = true;
  return order;
}

it("lets the event loop go round between any two pieces of work", async () => {
  expect(await orderOf(new FairTurns(10), ["a", "a", "a"])).toMatch(/^a\.a\.a\.?$/);
});

it("takes callers in turn, whoever came first and with however much", async () => {
  const order = await orderOf(new FairTurns(10), ["a", "a", "a", "a", "b", "c", "b"]);

  expect(order.replaceAll(".", "")).toBe("abcabaa");
});

it("lets so many of a caller wait, and of others still", async () => {
  const order = await orderOf(new FairTurns(2), ["a", "a", "a", "b"]);

  expect(order.replaceAll(".", "")).toBe("(no a)aba");
  expect(await orderOf(new FairTurns(2), ["a", "a"])).toMatch(/^a\.a\.?$/);
});
