import { readdir, readlink, rename, rm, stat, symlink } from "node:fs/promises";
import { join } from "node:path";
import { bytesOf } from "../base/bytes.ts";
import { codeOf } from "../base/mesh-error.ts";
import type { ExportedCredentials } from "../data-plane/index.ts";
import { makeFolder, openWriterLock, writeFileAtomically } from "../storage/index.ts";
import { CliError, exitCode } from "./exit-codes.ts";

/** What other programs are pointed at; each leads into the folder that `current` leads to. */
const files = ["svid.pem", "svid.pem.key", "bundle.pem", "crl.pem"] as const;
/** A folder with a bundle for each federated trust domain; roots of several in one file would count for all of them. */
const federatedFolder = "federated";
const fileNameBytesMax = 255;
const present = "current";
const generationPattern = /^svid-[0-9a-f]{1,64}-[0-9]{1,9}$/;

/**
 * A folder, closed to other users, in which a program finds an SVID with its key, the trust bundle, the revocation lists, and the bundles of federated trust domains. They change
 * together, by one rename: whoever reads through `current` never has the key of another certificate.
 */
export class ExportFolder implements AsyncDisposable {
  readonly path: string;
  readonly #lock: AsyncDisposable;
  #count = 0;

  private constructor(path: string, lock: AsyncDisposable) {
    this.path = path;
    this.#lock = lock;
  }

  /** Makes the folder, or takes it over from an export that has ended; throws a CliError where others may read it. */
  static async open(path: string): Promise<ExportFolder> {
    await makeFolder(path);
    const { mode } = await stat(path);
    if ((mode & 0o077) !== 0)
      throw new CliError(
        exitCode.failed,
        `${path} is open to other users and a private key goes there; run: chmod 700 ${path}`,
      );
    const lock = await openWriterLock(path);
    const folder = new ExportFolder(path, lock);
    await folder.#removeAllBut([]);
    return folder;
  }

  /** Puts credentials in the place of those before. */
  async write(credentials: ExportedCredentials): Promise<void> {
    this.#count += 1;
    const name = `svid-${credentials.serial}-${this.#count}`;
    const folder = join(this.path, name);
    const before = await readlink(join(this.path, present)).catch(() => "");
    await makeFolder(folder);
    const texts = [
      credentials.chainPem,
      credentials.privateKeyPem,
      credentials.bundlePem,
      credentials.crlPem,
    ];
    for (const [place, file] of files.entries())
      await writeFileAtomically(join(folder, file), bytesOf(texts[place] ?? ""), 0o600);
    await makeFolder(join(folder, federatedFolder));
    for (const [domain, pem] of credentials.federated) {
      const file = `${domain}.pem`;
      // Of a name that no file can have.
      if (file.length > fileNameBytesMax) continue;
      await writeFileAtomically(join(folder, federatedFolder, file), bytesOf(pem), 0o600);
    }
    const next = join(this.path, `${present}.next`);
    await rm(next, { force: true });
    await symlink(name, next);
    await rename(next, join(this.path, present));
    for (const file of [...files, federatedFolder]) await link(join(present, file), join(this.path, file));
    // One who is reading may still have the one before open.
    await this.#removeAllBut([name, before]);
  }

  /** The key has ended with its instance; it is not left lying about. */
  async [Symbol.asyncDispose](): Promise<void> {
    for (const name of [...files, federatedFolder, present]) await rm(join(this.path, name), { force: true });
    await this.#removeAllBut([]);
    await this.#lock[Symbol.asyncDispose]();
  }

  async #removeAllBut(kept: readonly string[]): Promise<void> {
    for (const name of await readdir(this.path))
      if (generationPattern.test(name) && !kept.includes(name))
        await rm(join(this.path, name), { recursive: true, force: true });
  }
}

async function link(target: string, path: string): Promise<void> {
  try {
    await symlink(target, path);
  } catch (error) {
    if (codeOf(error) !== "EEXIST") throw error;
    if ((await readlink(path).catch(() => "")) !== target)
      throw new CliError(exitCode.failed, `${path} is in the way; move it, or choose another folder`, {
        cause: error,
      });
  }
}
