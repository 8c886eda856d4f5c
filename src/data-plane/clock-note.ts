/** How far the wall clock may be from the trust log's epochs before that is said. */
const disagreeSecondsMax = 300;

/**
 * What is wrong with this machine's clock, to be put behind "this machine's clock": empty while it agrees with the
 * trust log's epochs or nothing is known of it.
 */
export function clockNote(aheadSeconds: number | undefined): string {
  if (aheadSeconds === undefined || Math.abs(aheadSeconds) <= disagreeSecondsMax) return "";
  const side = aheadSeconds > 0 ? "ahead of" : "behind";
  return `which is ${lengthOf(Math.abs(aheadSeconds))} ${side} the trust log's epochs`;
}

function lengthOf(seconds: number): string {
  return seconds < 7_200 ? `${Math.round(seconds / 60)} min` : `${Math.round(seconds / 3_600)} h`;
}
