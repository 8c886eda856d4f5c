/** Rows of the corpus that the sidecar does not treat as it has to, by name; they are expected to fail until it does. */
export const rowsAwaitingRepair: ReadonlySet<string> = new Set<string>([]);

/** What mutants must not have in them so that they do not find the same again. */
export const bytesAwaitingRepair: RegExp | undefined = undefined;

/**
 * Whether a client that has ended its side inside a body, of which the begin came behind another request, may be waited
 * for until the body's timeout.
 */
export const isEndedClientWaitedFor: boolean = false;
