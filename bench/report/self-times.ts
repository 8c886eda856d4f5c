import { z } from "zod";

const profileSchema = z.object({
  nodes: z.array(
    z.object({
      id: z.number(),
      callFrame: z.object({ functionName: z.string(), url: z.string(), lineNumber: z.number() }),
    }),
  ),
  /** Microseconds of the monotonic clock. */
  startTime: z.number(),
  samples: z.array(z.number()),
  timeDeltas: z.array(z.number()),
});

/** A V8 CPU profile, as `--cpu-prof` writes it. */
export type Profile = z.infer<typeof profileSchema>;

/** How long a function was on top of the stack. */
export interface SelfTime {
  readonly name: string;
  /** File and line. */
  readonly place: string;
  readonly micros: number;
}

/** Reads a `.cpuprofile`; throws where it is none. */
export function parseProfile(text: string): Profile {
  return profileSchema.parse(JSON.parse(text));
}

/** Functions by self time, longest first, counting only samples taken within the window (monotonic microseconds). */
export function selfTimes(profile: Profile, window: readonly [number, number]): SelfTime[] {
  const frames = new Map(profile.nodes.map(({ id, callFrame }) => [id, callFrame]));
  const found = new Map<string, { name: string; place: string; micros: number }>();
  let time = profile.startTime;
  for (const [index, id] of profile.samples.entries()) {
    // A delta is the time before its sample, so what a sample shows lasts until the next one.
    time += profile.timeDeltas[index] ?? 0;
    const micros = profile.timeDeltas[index + 1] ?? 0;
    const frame = frames.get(id);
    if (frame === undefined || time < window[0] || time > window[1]) continue;
    const name = frame.functionName === "" ? "(anonymous)" : frame.functionName;
    const place = frame.url === "" ? "" : `${shortened(frame.url)}:${frame.lineNumber + 1}`;
    const key = `${name} ${place}`;
    const entry = found.get(key) ?? { name, place, micros: 0 };
    entry.micros += micros;
    found.set(key, entry);
  }
  return [...found.values()].sort((left, right) => right.micros - left.micros);
}

function shortened(url: string): string {
  return url.replace(/^.*\/(src|node_modules)\//, "$1/");
}
