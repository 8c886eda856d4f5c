/**
 * A fault: our bug, a wrong configuration, a broken disk or socket. What a peer sends is never one of these; that
 * is a refusal (base/result.ts). `code` has the form `ERR_<FOLDER>_<WHAT>`.
 */
export class MeshError extends Error {
  readonly code: `ERR_${string}`;

  constructor(code: `ERR_${string}`, message: string, options?: { cause?: unknown }) {
    super(message, options);
    this.name = "MeshError";
    this.code = code;
  }
}

/** What went wrong, in one line, whatever was thrown. */
export function messageOf(thrown: unknown): string {
  if (!(thrown instanceof Error)) return String(thrown);
  return thrown.cause === undefined ? thrown.message : `${thrown.message}: ${messageOf(thrown.cause)}`;
}

/** The error code of whatever was thrown (`ENOENT`, `ERR_STORAGE_LOCKED`), if it has one. */
export function codeOf(thrown: unknown): string | undefined {
  if (!(thrown instanceof Error) || !("code" in thrown)) return undefined;
  return typeof thrown.code === "string" ? thrown.code : undefined;
}
