import { create } from "@bufbuild/protobuf";
import { describe, expect, it } from "vitest";
import { SmallTrustLog } from "../../test/fakes/small-trust-log.ts";
import { type Update, UpdateSchema } from "../protocol/index.ts";
import { type CheckedCheckpoint, checkCheckpoint } from "../trust-log/index.ts";
import { collectEntries } from "./read-entries.ts";

const log = new SmallTrustLog();
for (let epoch = 0; epoch < 5; epoch += 1) log.putEpoch();
const size = log.entries.length;

function checkpointOf(size: number): CheckedCheckpoint {
  const checked = checkCheckpoint(log.checkpoint(size), log.logKey);
  if (!checked.ok) throw new Error(checked.detail);
  return checked.value;
}

async function* stream(...steps: readonly (readonly Uint8Array[])[]): AsyncGenerator<Update> {
  for (const entries of steps) {
    const value = { firstIndex: 0n, entries: [...entries], checkpoint: new Uint8Array(0) };
    yield create(UpdateSchema, { content: { case: "step", value } });
  }
}

describe("the entries of a log", () => {
  it("are those of all steps up to the checkpoint", async () => {
    const read = await collectEntries(
      stream(log.entries.slice(0, 2), log.entries.slice(2)),
      checkpointOf(size - 1),
    );

    expect(read.entries).toEqual(log.entries.slice(0, -1));
    expect(read.tree.root()).toEqual(log.tree.root(size - 1));
  });

  it.each([
    ["one is missing", log.entries.slice(0, -1)],
    ["one is another", [...log.entries.slice(0, -1), new Uint8Array(3)]],
    [
      "two are swapped",
      [log.entries[1] ?? new Uint8Array(0), log.entries[0] ?? new Uint8Array(0), ...log.entries.slice(2)],
    ],
    ["there are none", []],
  ])("are refused where %s", async (_, entries) => {
    await expect(collectEntries(stream(entries), checkpointOf(size))).rejects.toMatchObject({ exitCode: 1 });
  });
});
