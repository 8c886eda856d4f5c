import { join } from "node:path";

/**
 * Where Node keeps compiled sources, which halves the start of a process. Not the temporary directory, in which
 * another user could leave something to be run.
 */
export const compileCache: string = join(
  import.meta.dirname,
  "..",
  "..",
  "node_modules",
  ".cache",
  "troth-compile",
);

/** The environment of Troth's own processes. */
export function ownEnvironment(): NodeJS.ProcessEnv {
  return { ...process.env, NODE_COMPILE_CACHE: compileCache };
}

/** The environment of somebody else's: as it was before Troth was started. */
export function foreignEnvironment(): NodeJS.ProcessEnv {
  const { NODE_COMPILE_CACHE: cache, ...rest } = process.env;
  return cache === undefined || cache === compileCache ? rest : { ...rest, NODE_COMPILE_CACHE: cache };
}
