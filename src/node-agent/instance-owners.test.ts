import { expect, it } from "vitest";
import { fakeClock } from "../../test/fakes/fake-clock.ts";
import { InstanceOwners } from "./instance-owners.ts";

const bootId = "boot-1";

function open(parts: { text?: string; known?: readonly string[]; bootId?: string } = {}): InstanceOwners {
  return new InstanceOwners(
    { text: parts.text, bootId: parts.bootId ?? bootId },
    fakeClock(),
    (instance) => parts.known?.includes(instance) === true,
  );
}

it("gives an instance to who asks first, and to nobody else", () => {
  const owners = open();

  expect(owners.claim("one", "7:100:0")).toEqual({ ok: true, value: { isNew: true } });
  expect(owners.claim("one", "7:100:0")).toEqual({ ok: true, value: { isNew: false } });
  // The same number, given out again.
  expect(owners.claim("one", "7:101:0")).toMatchObject({ ok: false, reason: "instance-of-another-process" });
  expect([owners.has("one", "7:100:0"), owners.has("one", "7:101:0"), owners.has("two", "7:100:0")]).toEqual([
    true,
    false,
    false,
  ]);
  expect([owners.hasAny("7:100:0"), owners.hasAny("7:101:0")]).toEqual([true, false]);
});

it("reads again what it wrote, in the same run of the kernel alone", () => {
  const owners = open();
  owners.claim("one", "7:100:0");

  const again = open({ text: owners.text() });
  const afterBoot = open({ text: owners.text(), bootId: "boot-2" });

  expect(again.claim("one", "8:100:0").ok).toBe(false);
  expect(afterBoot.claim("one", "8:100:0").ok).toBe(true);
  expect(open({ text: `${bootId}\ngarbage\n\n` }).claim("one", "8:100:0").ok).toBe(true);
});

it("forgets instances that have ended, not one that has yet to come, and has room for so many", () => {
  const clock = fakeClock();
  const owners = new InstanceOwners({ text: undefined, bootId }, clock, (instance) => instance === "lasting");
  owners.claim("lasting", "7:100:0");
  for (let count = 1; count < 10_000; count += 1) owners.claim(`ended-${count}`, "7:100:0");

  expect(owners.claim("another", "8:100:0")).toMatchObject({ ok: false, reason: "too-many-instances" });
  clock.advanceSeconds(60);
  expect(owners.claim("another", "8:100:0").ok).toBe(true);
  expect(owners.text()).toBe(`${bootId}\nlasting 7:100:0\nanother 8:100:0\n`);
});
