import { execFileSync } from "node:child_process";
import { existsSync, mkdirSync, realpathSync, symlinkSync } from "node:fs";
import { join, resolve } from "node:path";

/** This checkout. */
export const repository: string = resolve(import.meta.dirname, "..");

/** Another build of Troth to be compared with. */
export interface Checkout {
  readonly root: string;
  /** What was asked for, and which commit that is. */
  readonly about: string;
}

/** The build in a folder, or that of a git ref, written into a subfolder of `folder`; its packages are this one's. */
export function openCheckout(refOrFolder: string, folder: string): Checkout {
  if (existsSync(join(refOrFolder, "src", "cli", "main.ts"))) {
    const root = resolve(refOrFolder);
    return { root, about: `${refOrFolder} (${commitOf(root)})` };
  }
  const commit = commitNamed(refOrFolder);
  if (commit === undefined)
    throw new Error(`"${refOrFolder}" is neither a folder with a checkout of Troth nor a git ref`);
  const root = join(folder, "checkout");
  const archive = `${root}.tar`;
  mkdirSync(root);
  git("archive", "--format=tar", `--output=${archive}`, commit);
  execFileSync("tar", ["-xf", archive, "-C", root]);
  symlinkSync(realpathSync(join(repository, "node_modules")), join(root, "node_modules"));
  return { root, about: `${refOrFolder} (${commit.slice(0, 7)})` };
}

/** The commit of a checkout, and whether anything in it differs from that. */
export function commitOf(root: string): string {
  try {
    const commit = git("-C", root, "rev-parse", "--short", "HEAD");
    return git("-C", root, "status", "--porcelain", "--untracked-files=no") === ""
      ? commit
      : `${commit}, changed`;
  } catch {
    return "no commit";
  }
}

function commitNamed(ref: string): string | undefined {
  try {
    return git("rev-parse", "--verify", "--quiet", "--end-of-options", `${ref}^{commit}`);
  } catch {
    return undefined;
  }
}

function git(...args: readonly string[]): string {
  return execFileSync("git", ["-C", repository, ...args], { encoding: "utf8", stdio: "pipe" }).trim();
}
