import { create } from "@bufbuild/protobuf";
import { type EndpointList, type Update, UpdateSchema } from "../protocol/index.ts";
import { generationOf, type PresentedSnapshot, parseNote } from "../trust-log/index.ts";

/** A follower that is further behind than this is sent a snapshot, if it takes one. */
const snapshotLagEntries = 2048;
/** Most bytes of entries in one message, which is what a follower that does not read costs; a message holds at least one entry. */
const stepBytesMax = 256 * 1024;

/** A log up to its newest checkpoint, to be served to followers. */
export interface LogSource {
  /** The newest checkpoint as a note, and its size; undefined before the first. */
  readonly newest: { readonly size: number; readonly checkpoint: Uint8Array } | undefined;
  readonly read: (from: number, to: number) => AsyncIterable<Uint8Array>;
  /** The newest snapshot, if there is one. */
  readonly snapshot: () => Promise<(PresentedSnapshot & { readonly size: number }) | undefined>;
  /** Who serves where; another object whenever it changes; undefined while it is not known yet. */
  readonly endpoints: EndpointList | undefined;
  /** Where the second, third, ... generation took the log up (trust-log.md, recovery); none unless given. */
  readonly recoveredSizes?: readonly number[];
  /** Resolves at the next change of the above, or when the signal aborts. */
  readonly changed: (signal: AbortSignal) => Promise<void>;
}

/** What a follower asks for. */
export interface ServeRequest {
  readonly fromSize: number;
  readonly acceptsSnapshot: boolean;
  /** The newest checkpoint that the follower has kept; empty, as unless given, before the first. */
  readonly checkpoint?: Uint8Array;
  /** Whether to go on with news; otherwise the stream ends at the newest checkpoint. */
  readonly isLive: boolean;
}

/**
 * Streams a log to one follower. A step's entries may come in several messages: those without a checkpoint only bring
 * entries, and the one with it completes the step. A follower that is past the point from which a later generation
 * went on is told of that recovery, and nothing after it: it asks again from where that leaves it.
 */
export async function* serveLog(
  source: LogSource,
  request: ServeRequest,
  signal: AbortSignal,
): AsyncGenerator<Update> {
  let size = request.fromSize;
  let endpoints: EndpointList | undefined;
  let generation = generationShown(request.checkpoint) ?? generationIn(source);
  const behind = (source.newest?.size ?? 0) - size;
  const snapshot =
    request.acceptsSnapshot && behind > snapshotLagEntries ? await source.snapshot() : undefined;
  if (snapshot !== undefined && snapshot.size > size) {
    const { text, epochEntry, genesisEntry } = snapshot;
    yield create(UpdateSchema, { content: { case: "snapshot", value: { text, epochEntry, genesisEntry } } });
    size = snapshot.size;
  }
  let sent: Uint8Array | undefined;
  while (!signal.aborted) {
    const { newest } = source;
    if (newest !== undefined && newest.checkpoint !== sent) {
      const recoveredSize = source.recoveredSizes?.[generation - 1];
      if (recoveredSize !== undefined && recoveredSize < size) {
        yield* recoveryAt(source, recoveredSize);
        return;
      }
      generation = generationIn(source);
      // A follower that is ahead of this log has to learn that: it is the one who can tell a rollback from a fork.
      if (newest.size < size) yield stepOf(size, [], newest.checkpoint);
      else {
        yield* stepTo(source, size, newest);
        size = newest.size;
      }
      sent = newest.checkpoint;
    }
    if (!request.isLive) return;
    const served = source.endpoints;
    // What is not known is not said: the follower goes on with what it knows.
    if (served !== undefined && served !== endpoints) {
      endpoints = served;
      yield endpointsUpdate(served);
    }
    if (source.newest?.checkpoint === sent && (source.endpoints ?? endpoints) === endpoints)
      await source.changed(signal);
  }
}

/** Followers that keep up all get the same message: the step to a checkpoint, as it was made last. */
const lastSteps = new WeakMap<
  Uint8Array,
  { readonly entries: readonly Uint8Array[]; readonly update: Update }
>();

/** A step that completes what came before; the very message that was made before, if it says the same. */
function lastStepOf(firstIndex: number, entries: readonly Uint8Array[], checkpoint: Uint8Array): Update {
  const last = lastSteps.get(checkpoint);
  const isSame =
    last?.entries.length === entries.length && last.entries.every((entry, at) => entry === entries[at]);
  const isNext =
    last?.update.content.case === "step" && Number(last.update.content.value.firstIndex) === firstIndex;
  if (last !== undefined && isSame && isNext) return last.update;
  const update = stepOf(firstIndex, entries, checkpoint);
  lastSteps.set(checkpoint, { entries, update });
  return update;
}

const endpointsUpdates = new WeakMap<EndpointList, Update>();

function endpointsUpdate(served: EndpointList): Update {
  const { isPartial } = served;
  const value = { endpoints: [...served.endpoints], isPartial };
  const update =
    endpointsUpdates.get(served) ?? create(UpdateSchema, { content: { case: "endpoints", value } });
  endpointsUpdates.set(served, update);
  return update;
}

function generationIn({ recoveredSizes = [] }: LogSource): number {
  return recoveredSizes.length + 1;
}

/** The generation of a checkpoint, by its origin; undefined where there is none. */
function generationShown(checkpoint: Uint8Array = new Uint8Array(0)): number | undefined {
  const note = parseNote(checkpoint);
  return note.ok ? generationOf({ name: note.value.text.split("\n", 1)[0] ?? "" }) : undefined;
}

async function* recoveryAt(source: LogSource, index: number): AsyncGenerator<Update> {
  for await (const entry of source.read(index, index + 1))
    yield create(UpdateSchema, { content: { case: "recovery", value: { index: BigInt(index), entry } } });
}

async function* stepTo(
  source: LogSource,
  from: number,
  { size, checkpoint }: { readonly size: number; readonly checkpoint: Uint8Array },
): AsyncGenerator<Update> {
  let entries: Uint8Array[] = [];
  let firstIndex = from;
  let bytes = 0;
  for await (const entry of source.read(from, size)) {
    if (bytes + entry.byteLength > stepBytesMax && entries.length > 0) {
      yield stepOf(firstIndex, entries, new Uint8Array(0));
      firstIndex += entries.length;
      entries = [];
      bytes = 0;
    }
    entries.push(entry);
    bytes += entry.byteLength;
  }
  yield lastStepOf(firstIndex, entries, checkpoint);
}

function stepOf(firstIndex: number, entries: readonly Uint8Array[], checkpoint: Uint8Array): Update {
  const value = { firstIndex: BigInt(firstIndex), entries: [...entries], checkpoint };
  return create(UpdateSchema, { content: { case: "step", value } });
}
