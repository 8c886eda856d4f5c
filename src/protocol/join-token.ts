import { bytesOf, bytesOfBase64, textOf } from "../base/bytes.ts";
import { canonicalJson, isJsonObject, parseCanonicalJson } from "../base/canonical-json.ts";
import { fail, ok, type Result } from "../base/result.ts";

const prefix = "troth-join-1.";
const tokenCharactersMax = 2048;

/**
 * What a machine needs in order to join, and nothing that lets anybody else pretend to be the mesh: it carries the
 * hash of the log's first entry and the log's key, so that the agent recognises the log before it says anything.
 * A secret: whoever holds it can join as `node` once, until the invitation expires.
 */
export interface JoinToken {
  readonly node: string;
  /** host:port of the control plane. */
  readonly address: string;
  readonly genesis: string;
  readonly logKey: string;
  /** The invitation's Ed25519 private key, PKCS#8 in base64. */
  readonly inviteKey: string;
}

/** Writes a join token as one word. */
export function formatJoinToken({ node, address, genesis, logKey, inviteKey }: JoinToken): string {
  return (
    prefix +
    Buffer.from(bytesOf(canonicalJson({ node, address, genesis, logKey, inviteKey }))).toString("base64url")
  );
}

/** Reads a join token. */
export function parseJoinToken(text: string): Result<JoinToken, "malformed-join-token"> {
  if (!text.startsWith(prefix)) return fail("malformed-join-token", `it must begin with ${prefix}`);
  if (text.length > tokenCharactersMax) return fail("malformed-join-token", "too long");
  const json = textOf(new Uint8Array(Buffer.from(text.slice(prefix.length), "base64url")));
  const parsed = parseCanonicalJson(json ?? "");
  if (!parsed.ok || !isJsonObject(parsed.value))
    return fail("malformed-join-token", "damaged; was it copied whole?");
  const { node, address, genesis, logKey, inviteKey } = parsed.value;
  const isComplete =
    typeof node === "string" &&
    typeof address === "string" &&
    typeof genesis === "string" &&
    typeof logKey === "string" &&
    typeof inviteKey === "string" &&
    bytesOfBase64(inviteKey) !== undefined;
  if (!isComplete) return fail("malformed-join-token", "a field is missing");
  return ok({ node, address, genesis, logKey, inviteKey });
}
