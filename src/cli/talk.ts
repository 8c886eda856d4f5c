let isQuiet = false;

/** Silences {@link talk}; for `--quiet`. */
export function setQuiet(quiet: boolean): void {
  isQuiet = quiet;
}

/** Says something beside the answer, on standard error. */
export function talk(sentence: string): void {
  if (!isQuiet) process.stderr.write(`troth: ${sentence}\n`);
}
