/** What carrying others' connections may cost a router. */
export interface RouterLimits {
  /** Tunnels at once, of all callers. */
  readonly tunnelsMax: number;
  /** The same of one calling instance, so that none uses up the others' share. */
  readonly tunnelsPerInstanceMax: number;
  /** How long nothing may pass through a tunnel; longer than through any that goes through it. */
  readonly tunnelIdleMillis: number;
  /** For how long it is believed that an instance is where it was found. */
  readonly foundMillis: number;
  /** For how long it is believed that it is not. */
  readonly missedMillis: number;
  /** How long looking for it may take. */
  readonly lookMillis: number;
  /** How many are looked for at once. */
  readonly looksMax: number;
}

/** The limits that hold unless configured otherwise. */
export const defaultRouterLimits: RouterLimits = {
  tunnelsMax: 8_192,
  tunnelsPerInstanceMax: 1_024,
  tunnelIdleMillis: 7_500_000,
  foundMillis: 60_000,
  missedMillis: 1_000,
  lookMillis: 1_500,
  looksMax: 64,
};
