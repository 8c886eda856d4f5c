import { execFileSync } from "node:child_process";
import { existsSync, realpathSync, symlinkSync } from "node:fs";
import { join, resolve } from "node:path";

/** This checkout. */
export const repository: string = resolve(import.meta.dirname, "..");

/** Another build of Troth to be compared with. */
export interface Checkout extends Disposable {
  readonly root: string;
  /** What was asked for, and which commit that is. */
  readonly about: string;
}

/** Opens the build in a folder, or checks out a git ref into a folder that goes away; its packages are this one's. */
export function openCheckout(refOrFolder: string, folder: string): Checkout {
  if (existsSync(join(refOrFolder, "src", "cli", "main.ts"))) {
    const root = resolve(refOrFolder);
    return { root, about: `${refOrFolder} (${commitOf(root)})`, [Symbol.dispose]: () => {} };
  }
  const root = join(folder, "checkout");
  if (!isCommit(refOrFolder))
    throw new Error(`"${refOrFolder}" is neither a folder with a checkout of Troth nor a git ref`);
  git("worktree", "add", "--detach", root, refOrFolder);
  symlinkSync(realpathSync(join(repository, "node_modules")), join(root, "node_modules"));
  return {
    root,
    about: `${refOrFolder} (${commitOf(root)})`,
    [Symbol.dispose]: () => {
      git("worktree", "remove", "--force", root);
    },
  };
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

function isCommit(ref: string): boolean {
  try {
    git("rev-parse", "--verify", "--quiet", "--end-of-options", `${ref}^{commit}`);
    return true;
  } catch {
    return false;
  }
}

function git(...args: readonly string[]): string {
  return execFileSync("git", ["-C", repository, ...args], { encoding: "utf8", stdio: "pipe" }).trim();
}
