import type { InstanceLink } from "./instance-link.ts";
import type { OutcomeObserver } from "./sent-request.ts";

/** The instances that a request can go to. */
export interface LinkChoice {
  /** One to try, other than those already tried; undefined where there is none, `overloaded` where none has room. */
  pick(tried: readonly InstanceLink[]): InstanceLink | "overloaded" | undefined;
  /** Whether there is another one. */
  hasOther(than: InstanceLink): boolean;
  /** Has an instance left alone for a moment where others can be asked. */
  avoid(link: InstanceLink): void;
  /** Who wants to know how requests go; nothing is measured for nobody. */
  readonly outcomes?: OutcomeObserver | undefined;
}
