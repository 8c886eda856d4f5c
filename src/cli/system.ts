import { randomBytes as nodeRandomBytes } from "node:crypto";
import { writeSync } from "node:fs";
import pino from "pino";
import type { Clock, RandomBytes } from "../base/clock.ts";
import type { Log } from "../base/log.ts";

/** The machine's clock. */
export const systemClock: Clock = {
  nowSeconds: () => Date.now() / 1000,
  monotonicMillis: () => performance.now(),
};

/** The machine's randomness. */
export const randomBytes: RandomBytes = (length) => new Uint8Array(nodeRandomBytes(length));

/** For jitter only. */
export const random: () => number = Math.random;

/** A process's log: a JSON object a line, on standard output. */
export function openLog(process: string, level: string): Log {
  const logger = pino({ level, base: { process }, timestamp: pino.stdTimeFunctions.isoTime }, standardOutput);
  return {
    debug: (message, fields) => logger.debug(fields ?? {}, message),
    info: (message, fields) => logger.info(fields ?? {}, message),
    warn: (message, fields) => logger.warn(fields ?? {}, message),
    error: (message, fields) => logger.error(fields ?? {}, message),
  };
}

/** A line that cannot be written, as on a full disk, is lost; pino's own stream would end the process over it. */
const standardOutput = {
  write: (line: string): void => {
    try {
      writeSync(1, line);
    } catch {
      // Nowhere to say so; the next line may have room.
    }
  },
};
