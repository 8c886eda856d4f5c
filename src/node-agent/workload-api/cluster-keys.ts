import type { KeyObject } from "node:crypto";
import { open } from "node:fs/promises";
import tls from "node:tls";
import { textOf } from "../../base/bytes.ts";
import type { Clock } from "../../base/clock.ts";
import type { Log } from "../../base/log.ts";
import { messageOf } from "../../base/mesh-error.ts";
import { keySetBytesMax, parseKeySet } from "../../identity/index.ts";
import { askHttp } from "./ask-http.ts";

const refreshMillis = 5 * 60_000;
/** Keys that could not be read anew for so long count no more. */
const keySetAgeMillisMax = 15 * 60_000;
/** After a failure, and after a key that the set had not. */
const askAgainMillis = 10_000;

/** Where a cluster's public keys are (RFC 7517): a file, or a URL of https, or of http on loopback. */
export type KeySetSource =
  | { readonly kind: "file"; readonly path: string }
  | {
      readonly kind: "url";
      readonly url: string /** Besides the public web's (PEM). */;
      readonly authorities?: string;
    };

type Keys = ReadonlyMap<string, KeyObject>;

const noKeys: Keys = new Map();

/** The public keys of a cluster, read anew now and then. While they cannot be had there are none, and it is said once. */
export class ClusterKeys {
  readonly #source: KeySetSource;
  readonly #clock: Clock;
  readonly #log: Log;
  #keys: Keys = noKeys;
  #readMillis = -Infinity;
  #triedMillis = -Infinity;
  #missedMillis = -Infinity;
  #reading: Promise<void> | undefined;
  #isFailing = false;

  constructor(source: KeySetSource, clock: Clock, log: Log) {
    this.#source = source;
    this.#clock = clock;
    this.#log = log;
  }

  /** The keys as far as they are known; a file is read each time, a URL every five minutes. */
  async current(): Promise<Keys> {
    const now = this.#clock.monotonicMillis();
    const isDue = now - this.#readMillis >= refreshMillis && now - this.#triedMillis >= askAgainMillis;
    if (this.#source.kind === "file" || isDue || this.#reading !== undefined) await this.#read();
    return this.#inTime();
  }

  /** The keys after one was missing among them: asks the URL again, at most every ten seconds. */
  async again(): Promise<Keys> {
    const now = this.#clock.monotonicMillis();
    if (now - this.#missedMillis >= askAgainMillis) {
      this.#missedMillis = now;
      await this.#read();
    }
    return this.#inTime();
  }

  #inTime(): Keys {
    const age = this.#clock.monotonicMillis() - this.#readMillis;
    return age <= keySetAgeMillisMax ? this.#keys : noKeys;
  }

  #read(): Promise<void> {
    this.#reading ??= this.#readOnce().finally(() => {
      this.#reading = undefined;
    });
    return this.#reading;
  }

  async #readOnce(): Promise<void> {
    const { kind } = this.#source;
    this.#triedMillis = this.#clock.monotonicMillis();
    const problem = await this.#take().catch(messageOf);
    // A file that is gone or broken has been changed by somebody; a cluster that is away may be back soon.
    if (problem !== undefined && kind === "file") this.#keys = noKeys;
    if (problem !== undefined && !this.#isFailing)
      this.#log.warn("the cluster's keys cannot be read", { source: shown(this.#source), error: problem });
    if (problem === undefined && this.#isFailing) this.#log.info("the cluster's keys are there again");
    this.#isFailing = problem !== undefined;
  }

  /** Why there are no new keys; undefined where they have been taken. */
  async #take(): Promise<string | undefined> {
    const source = this.#source;
    const text = textOf(source.kind === "file" ? await bytesOfFile(source.path) : await keySetAt(source));
    if (text === undefined) return "not UTF-8";
    const keys = parseKeySet(text);
    if (!keys.ok) return `${keys.reason} ${keys.detail}`.trim();
    this.#keys = keys.value;
    this.#readMillis = this.#clock.monotonicMillis();
    return undefined;
  }
}

function shown(source: KeySetSource): string {
  return source.kind === "file" ? source.path : source.url;
}

async function bytesOfFile(path: string): Promise<Uint8Array> {
  await using file = await open(path, "r");
  const bytes = Buffer.alloc(keySetBytesMax + 1);
  const { bytesRead } = await file.read(bytes, 0, bytes.length, 0);
  return bytes.subarray(0, bytesRead);
}

function keySetAt({ url, authorities }: KeySetSource & { kind: "url" }): Promise<Uint8Array> {
  const trust = authorities === undefined ? {} : { ca: [...tls.getCACertificates("default"), authorities] };
  return askHttp({ url, ...trust, bytesMax: keySetBytesMax });
}
