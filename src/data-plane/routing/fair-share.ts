/**
 * As many of the items as there are places, in the order they came. Where there are more, each party has as many places
 * as any other, and what a party has no use for goes to the rest. Costs nothing where there are enough.
 */
export function fairShare<Item>(
  items: readonly Item[],
  places: number,
  partyOf: (item: Item) => string,
): readonly Item[] {
  if (items.length <= places) return items;
  const parties = Map.groupBy(items, partyOf);
  const taken = new Set<Item>();
  // The smallest first: what they leave is shared among those that are left.
  let [left, toServe] = [places, parties.size];
  for (const own of [...parties.values()].sort((a, b) => a.length - b.length)) {
    const share = Math.min(own.length, Math.floor(left / toServe));
    for (const item of own.slice(0, share)) taken.add(item);
    left -= share;
    toServe -= 1;
  }
  return items.filter((item) => taken.has(item));
}
