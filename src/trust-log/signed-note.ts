import type { KeyObject } from "node:crypto";
import { base64Of, bytesOf, bytesOfBase64, concatBytes, hexOf, sameBytes, textOf } from "../base/bytes.ts";
import { fail, ok, type Result } from "../base/result.ts";
import { ed25519PublicKey, publicKeyBytes, sha256, signEd25519, verifyEd25519 } from "../crypto/index.ts";

/** The largest note that is read, in bytes; an entry of the log fits in it (tlog-tiles: 65 535). */
export const noteBytesMax = 65_535;

const signaturesMax = 16;
const ed25519Type = 0x01;
const signatureLine = /^— ([^ +]+) ([A-Za-z0-9+/=]+)$/;

/** Who signs notes: a name and an Ed25519 key pair. */
export interface NoteSigner {
  readonly name: string;
  readonly privateKey: KeyObject;
  readonly publicKey: KeyObject;
}

/** Who is believed to have signed a note: a name and an Ed25519 public key. */
export interface NoteVerifier {
  readonly name: string;
  readonly publicKey: KeyObject;
}

/** One signature under a note, not judged yet. */
export interface NoteSignature {
  readonly name: string;
  readonly keyId: Uint8Array;
  readonly signature: Uint8Array;
}

/** A text and the signatures under it (C2SP signed-note v1.0.0), not judged yet. */
export interface SignedNote {
  /** The signed text, with its last newline. */
  readonly text: string;
  readonly signatures: readonly NoteSignature[];
}

/**
 * Whether a name may stand in a note and in a verification key: printable ASCII without `+`. C2SP allows more; which
 * characters those are depends on the version of Unicode, and all followers must judge an entry alike.
 */
export function isNoteName(name: string): boolean {
  return /^[\x21-\x2a\x2c-\x7e]{1,255}$/.test(name);
}

/** Signs `text`, which must end in a newline, as every signer in turn. */
export function signNote(text: string, signers: readonly NoteSigner[]): Uint8Array {
  const signatures = signers.map((signer) => ({
    name: signer.name,
    keyId: keyIdOf(signer),
    signature: signEd25519(signer.privateKey, bytesOf(text)),
  }));
  return formatNote({ text, signatures });
}

/** The bytes of a note. */
export function formatNote({ text, signatures }: SignedNote): Uint8Array {
  const lines = signatures.map(
    ({ name, keyId, signature }) => `— ${name} ${base64Of(concatBytes(keyId, signature))}\n`,
  );
  return bytesOf(`${text}\n${lines.join("")}`);
}

/** Takes a note apart; any spelling but the one that {@link signNote} writes is refused. */
export function parseNote(bytes: Uint8Array): Result<SignedNote, "malformed-note"> {
  if (bytes.byteLength > noteBytesMax) return fail("malformed-note", `over ${noteBytesMax} bytes`);
  const whole = textOf(bytes);
  if (whole === undefined) return fail("malformed-note", "not UTF-8");
  // oxlint-disable-next-line no-control-regex -- C2SP signed-note forbids exactly these
  if (/[\u0000-\u0009\u000b-\u001f]/.test(whole)) return fail("malformed-note", "control characters");
  const end = whole.lastIndexOf("\n\n");
  if (end < 0 || !whole.endsWith("\n")) return fail("malformed-note", "no signature block");

  const lines = whole.slice(end + 2, -1).split("\n");
  if (lines.length > signaturesMax) return fail("malformed-note", `over ${signaturesMax} signatures`);
  const signatures: NoteSignature[] = [];
  for (const line of lines) {
    const [, name, encoded] = signatureLine.exec(line) ?? [];
    const blob = encoded === undefined ? undefined : bytesOfBase64(encoded);
    if (name === undefined || !isNoteName(name) || blob === undefined || blob.byteLength < 5)
      return fail("malformed-note", "a signature line that is none");
    const keyId = blob.slice(0, 4);
    if (signatures.some((other) => other.name === name && sameBytes(other.keyId, keyId)))
      return fail("malformed-note", `two signatures by one key of ${name}`);
    signatures.push({ name, keyId, signature: blob.slice(4) });
  }
  return ok({ text: whole.slice(0, end + 1), signatures });
}

/** Whether `verifier` signed the note. */
export function isSignedBy(note: SignedNote, verifier: NoteVerifier): boolean {
  const keyId = keyIdOf(verifier);
  const message = bytesOf(note.text);
  return note.signatures.some(
    ({ name, keyId: claimed, signature }) =>
      name === verifier.name &&
      sameBytes(claimed, keyId) &&
      verifyEd25519(verifier.publicKey, message, signature),
  );
}

/** The textual form of a verifier: `<name>+<key id in hex>+<base64 of type and key>`. */
export function verifierKeyOf(verifier: NoteVerifier): string {
  const key = concatBytes(Uint8Array.of(ed25519Type), publicKeyBytes(verifier.publicKey));
  return `${verifier.name}+${hexOf(keyIdOf(verifier))}+${base64Of(key)}`;
}

/** Reads a verifier from its textual form. */
export function parseVerifierKey(text: string): Result<NoteVerifier, "malformed-verifier-key"> {
  const [, name, keyId, encoded] = /^([^+]+)\+([0-9a-f]{8})\+(.+)$/.exec(text) ?? [];
  const blob = encoded === undefined ? undefined : bytesOfBase64(encoded);
  if (name === undefined || !isNoteName(name) || blob === undefined || blob[0] !== ed25519Type)
    return fail("malformed-verifier-key", "expected <name>+<key id>+<Ed25519 key>");
  const publicKey = ed25519PublicKey(blob.slice(1));
  if (publicKey === undefined) return fail("malformed-verifier-key", "not an Ed25519 key");
  const verifier = { name, publicKey };
  return hexOf(keyIdOf(verifier)) === keyId
    ? ok(verifier)
    : fail("malformed-verifier-key", "key id does not fit");
}

/** Of those that were asked for; each signature asks for that of its verifier. */
const knownKeyIds = new WeakMap<NoteVerifier, Uint8Array>();

function keyIdOf(verifier: NoteVerifier): Uint8Array {
  const known = knownKeyIds.get(verifier) ?? hashedKeyId(verifier);
  knownKeyIds.set(verifier, known);
  return known;
}

function hashedKeyId({ name, publicKey }: NoteVerifier): Uint8Array {
  return sha256(bytesOf(`${name}\n`), Uint8Array.of(ed25519Type), publicKeyBytes(publicKey)).slice(0, 4);
}
