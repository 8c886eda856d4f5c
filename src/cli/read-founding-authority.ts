import { createPrivateKey, type KeyObject } from "node:crypto";
import { open } from "node:fs/promises";
import { messageOf } from "../base/mesh-error.ts";
import { checkFoundingAuthority, type FoundingAuthorities } from "../control-plane/index.ts";
import { intermediateLifetimeSecondsDefault, type TrustDomain } from "../identity/index.ts";
import { CliError, exitCode } from "./exit-codes.ts";
import { readCertificates } from "./read-certificates.ts";
import { randomBytes, systemClock } from "./system.ts";

const keyBytesMax = 65_536;

/** Where an authority is whose key exists already, and what becomes of the key. */
export interface FoundingAuthorityFiles {
  /** PEM: a root, or an intermediate and then its root. */
  readonly caCertificate?: string;
  /** PEM, without a passphrase: that of the first certificate. */
  readonly caKey?: string;
  /** Whether a root's key is kept, so that intermediates renew themselves. */
  readonly keepCaKey: boolean;
  readonly intermediateLifetime?: number;
}

/** What a trust domain is to be founded with, from files; undefined where none are given. Throws what is wrong with them. */
export async function readFoundingAuthority(
  trustDomain: TrustDomain,
  files: FoundingAuthorityFiles,
): Promise<FoundingAuthorities | undefined> {
  const { caCertificate, caKey, keepCaKey } = files;
  if (caCertificate === undefined || caKey === undefined) return undefined;
  const given = {
    trustDomain,
    certificates: await readCertificates(caCertificate),
    privateKey: await readKey(caKey),
    intermediateLifetimeSeconds: files.intermediateLifetime ?? intermediateLifetimeSecondsDefault,
  };
  const checked = checkFoundingAuthority(given, { clock: systemClock, randomBytes });
  if (!checked.ok)
    throw new CliError(
      exitCode.no,
      `no trust domain is founded with ${caCertificate}: ${checked.reason}: ${checked.detail}; an authority whose key stays elsewhere signs a request instead: troth ca prepare --csr`,
    );
  return keepCaKey ? checked.value : { ...checked.value, root: undefined };
}

async function readKey(file: string): Promise<KeyObject> {
  const text = await readOwnFile(file);
  try {
    return createPrivateKey(text);
  } catch {
    // The library's message may quote the key.
    throw new CliError(exitCode.unreadable, `${file} holds no private key in PEM without a passphrase`);
  }
}

/** What only its owner can read. */
async function readOwnFile(file: string): Promise<Buffer> {
  try {
    await using opened = await open(file, "r");
    const { mode, size } = await opened.stat();
    if (process.platform !== "win32" && (mode & 0o077) !== 0)
      throw new CliError(exitCode.no, `${file} can be read by others than its owner: chmod 600 ${file}`);
    if (size > keyBytesMax)
      throw new CliError(exitCode.unreadable, `${file} is larger than ${keyBytesMax} bytes`);
    return await opened.readFile();
  } catch (error) {
    if (error instanceof CliError) throw error;
    throw new CliError(exitCode.unreadable, messageOf(error));
  }
}
