/**
 * Fields that would change what was decided on, or how the message is read, if a receiver merged them into its head
 * (RFC 9110, 6.5.1): framing, routing, credentials, conditions, what describes the body, and who is said to ask.
 */
const forbiddenNames = new Set(
  (
    "authorization cache-control connection content-encoding content-length content-range content-type cookie expect " +
    "forwarded host if-match if-modified-since if-none-match if-range if-unmodified-since keep-alive location " +
    "max-forwards range set-cookie te trailer transfer-encoding upgrade www-authenticate x-real-ip"
  ).split(" "),
);

const forbiddenPrefixes = ["proxy-", "troth-", "x-forwarded-"];

/** Whether no message may end with a field of this name (in small letters). */
export function isForbiddenTrailer(name: string): boolean {
  return forbiddenNames.has(name) || forbiddenPrefixes.some((prefix) => name.startsWith(prefix));
}

/** Whether the value of a `Trailer` line names a field that no message may end with. */
export function announcesForbiddenTrailer(value: string): boolean {
  return value.split(",").some((name) => isForbiddenTrailer(name.trim().toLowerCase()));
}
