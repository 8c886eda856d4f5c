/** What the exit code of `troth` says; listed in `troth --help`. */
export const exitCode = {
  ok: 0,
  /** The answer is no: a log that does not verify, a mesh that is not healthy. */
  no: 1,
  usage: 2,
  /** The control plane cannot be reached. */
  unreachable: 3,
  notFound: 4,
  timedOut: 5,
  /** The instance was revoked while it ran. */
  revoked: 6,
  /** What was given cannot be read. */
  unreadable: 65,
  /** Something that Troth needs to run is broken: a disk, a port, a file. */
  failed: 70,
} as const;

/** A failure that the user is told in one sentence, with what to do about it, and an exit code. */
export class CliError extends Error {
  readonly exitCode: number;

  constructor(code: number, message: string, options?: { cause?: unknown }) {
    super(message, options);
    this.name = "CliError";
    this.exitCode = code;
  }
}
