import { bytesOf, textOf } from "../base/bytes.ts";
import { canonicalJson, isJsonObject, parseCanonicalJson } from "../base/canonical-json.ts";
import { fail, ok, type Result } from "../base/result.ts";

const prefix = "troth-mesh-1.";
const charactersMax = 4_096;

/** What somebody has to know of a mesh in order to recognise it. Nothing in it is secret. */
export interface MeshCard {
  readonly trustDomain: string;
  /** host:port of the control plane. */
  readonly address: string;
  /** Leaf hash of the trust log's first entry, base64. */
  readonly genesis: string;
  /** The log's verifier key (C2SP signed-note). */
  readonly logKey: string;
}

/** The card in one line. */
export function formatMeshCard({ trustDomain, address, genesis, logKey }: MeshCard): string {
  const json = canonicalJson({ trustDomain, address, genesis, logKey });
  return `${prefix}${Buffer.from(bytesOf(json)).toString("base64url")}`;
}

/** Reads a card. */
export function parseMeshCard(text: string): Result<MeshCard, "malformed-card"> {
  if (!text.startsWith(prefix) || text.length > charactersMax)
    return fail("malformed-card", `a card begins with ${prefix}; get it with: troth operator card`);
  const json = textOf(new Uint8Array(Buffer.from(text.slice(prefix.length), "base64url")));
  const parsed = parseCanonicalJson(json ?? "");
  const value = parsed.ok && isJsonObject(parsed.value) ? parsed.value : {};
  const { trustDomain, address, genesis, logKey } = value;
  return typeof trustDomain === "string" &&
    typeof address === "string" &&
    typeof genesis === "string" &&
    typeof logKey === "string"
    ? ok({ trustDomain, address, genesis, logKey })
    : fail("malformed-card", "it is cut off or changed");
}
