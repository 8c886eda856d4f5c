import { parseArgs } from "node:util";

/** All that a demo service is told; it knows nothing else of the mesh that it runs in. */
export interface ServiceEnvironment {
  /** Its own name, from TROTH_SERVICE. */
  readonly service: string;
  /** Where to listen on 127.0.0.1, from PORT; 0 takes any free port, undefined where it is not set. */
  readonly port: number | undefined;
  /** Where requests for other services go, from TROTH_OUTBOUND_URL; empty where it is not set. */
  readonly outboundUrl: string;
  /** What the sample data is drawn from, from `--seed` or DEMO_SEED. */
  readonly seed: number;
  /** Whether `--once` asks to do the work once and to end. */
  readonly once: boolean;
}

/** Reads the environment and the command line of this process; throws a RangeError that names what is wrong. */
export function readServiceEnvironment(): ServiceEnvironment {
  const { PORT, TROTH_OUTBOUND_URL, TROTH_SERVICE, DEMO_SEED } = process.env;
  const { values } = parseArgs({ options: { seed: { type: "string" }, once: { type: "boolean" } } });
  return {
    service: TROTH_SERVICE ?? "",
    port: PORT === undefined ? undefined : wholeNumber("PORT", PORT, 65_535),
    outboundUrl: TROTH_OUTBOUND_URL ?? "",
    seed: wholeNumber("the seed", values.seed ?? DEMO_SEED ?? "1", 2 ** 32 - 1),
    once: values.once ?? false,
  };
}

function wholeNumber(name: string, text: string, max: number): number {
  const value = /^[0-9]{1,10}$/.test(text) ? Number(text) : Number.NaN;
  if (!(value <= max)) throw new RangeError(`${name} is no whole number from 0 to ${max}: ${text}`);
  return value;
}
