/** The longest life of an SVID, in seconds: 24 hours (S2). */
export const svidLifetimeSecondsMax = 86_400;

/** How long before its issue an SVID becomes valid, in seconds, for peers whose clocks lag. */
export const svidBackdateSeconds = 10;
