import type { Clock } from "../base/clock.ts";
import { fail, ok, type Result } from "../base/result.ts";

/** So many instances of one node have an owner; others are asked to wait until some have ended. */
const ownersMax = 10_000;
/** An instance that was just claimed may be neither here nor in the log yet. */
const claimMillisMin = 60_000;

/** Why a caller may not act as an instance. */
export type OwnerRefusal = "instance-of-another-process" | "too-many-instances";

/** What is kept of owners besides this process's memory. */
export interface KeptOwners {
  /** As {@link InstanceOwners.text} gave it; undefined where there is nothing. */
  readonly text: string | undefined;
  /** Names the present run of the kernel, since processes of another are nobody here. */
  readonly bootId: string;
}

interface Owner {
  readonly name: string;
  /** On the monotonic clock. */
  readonly claimedMillis: number;
}

/**
 * Whose each instance of this node is: the first that asked as it, whoever that is. The key of an instance never leaves
 * its process, so there is no successor that could have it: a process that was started in its place has another instance.
 */
export class InstanceOwners {
  readonly #owners = new Map<string, Owner>();
  readonly #bootId: string;
  readonly #clock: Pick<Clock, "monotonicMillis">;
  readonly #isKnown: (instance: string) => boolean;

  /** `isKnown` says of an instance whether it is here, or in the log; the owners of others are forgotten. */
  constructor(
    kept: KeptOwners,
    clock: Pick<Clock, "monotonicMillis">,
    isKnown: (instance: string) => boolean,
  ) {
    this.#bootId = kept.bootId;
    this.#clock = clock;
    this.#isKnown = isKnown;
    for (const [instance, name] of readOwners(kept)) this.#set(instance, name);
  }

  /** Whether `owner` may act as an instance, which becomes its own where it was nobody's; `isNew` where it did. */
  claim(instance: string, owner: string): Result<{ readonly isNew: boolean }, OwnerRefusal> {
    const known = this.#owners.get(instance)?.name;
    if (known === owner) return ok({ isNew: false });
    if (known !== undefined) return fail("instance-of-another-process", `it is of ${known}, not of ${owner}`);
    if (this.#owners.size >= ownersMax) this.#forget();
    if (this.#owners.size >= ownersMax) return fail("too-many-instances", `${ownersMax} on this node`);
    this.#set(instance, owner);
    return ok({ isNew: true });
  }

  /** Whether an instance is this owner's already. */
  has(instance: string, owner: string): boolean {
    return this.#owners.get(instance)?.name === owner;
  }

  /** Whether any instance is this owner's. */
  hasAny(owner: string): boolean {
    return [...this.#owners.values()].some(({ name }) => name === owner);
  }

  /** To be read again after a restart, so that nobody else takes an instance meanwhile. */
  text(): string {
    this.#forget();
    const lines = [...this.#owners].map(([instance, { name }]) => `${instance} ${name}`);
    return `${[this.#bootId, ...lines].join("\n")}\n`;
  }

  #set(instance: string, name: string): void {
    this.#owners.set(instance, { name, claimedMillis: this.#clock.monotonicMillis() });
  }

  #forget(): void {
    const now = this.#clock.monotonicMillis();
    for (const [instance, { claimedMillis }] of this.#owners)
      if (now - claimedMillis >= claimMillisMin && !this.#isKnown(instance)) this.#owners.delete(instance);
  }
}

/** Of another run of the kernel, or where nothing can be read: none, and who asks first is the owner. */
function readOwners({ text = "", bootId }: KeptOwners): (readonly [string, string])[] {
  const [first, ...lines] = text.split("\n");
  if (first !== bootId) return [];
  return lines.slice(0, ownersMax).flatMap((line) => {
    const [instance = "", owner = ""] = line.split(" ");
    return owner === "" ? [] : [[instance, owner] as const];
  });
}
