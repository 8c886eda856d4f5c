import { join } from "node:path";
import { bytesOf, textOf } from "../base/bytes.ts";
import { canonicalJson, isJsonObject, parseCanonicalJson } from "../base/canonical-json.ts";
import type { Membership } from "../node-agent/index.ts";
import { readFileIfPresent, writeFileAtomically } from "../storage/index.ts";
import { parseVerifierKey } from "../trust-log/index.ts";
import { CliError, exitCode } from "./exit-codes.ts";
import {
  type KnownDomain,
  type MeshDirectory,
  readKnownDomain,
  requireKnownDomain,
} from "./mesh-directory.ts";

/** What proxies have to know of their mesh. */
export type MeshAnchor = Pick<KnownDomain, "trustDomain" | "genesis" | "logKey">;

/** The mesh of this directory: its own, or the one that its agent has joined, of which no operator's key is here. */
export async function requireMesh(directory: MeshDirectory): Promise<MeshAnchor> {
  const joined = await joinedMesh(directory);
  return joined ?? requireKnownDomain(directory);
}

/** The mesh that this directory has joined, where it is another machine's; undefined for its own, and for none. */
export async function joinedMesh(directory: MeshDirectory): Promise<MeshAnchor | undefined> {
  if ((await readKnownDomain(directory)) !== undefined) return undefined;
  const membership = await readMembership(directory);
  if (membership === undefined) return undefined;
  const { genesis, logKey } = membership;
  const parsed = parseVerifierKey(logKey);
  const trustDomain = parsed.ok ? /^([^/]+)\/trust-log/.exec(parsed.value.name)?.[1] : undefined;
  if (trustDomain === undefined) throw damaged(membershipFile(directory));
  return { trustDomain, genesis, logKey };
}

/** The mesh that this directory's agent has joined. */
export async function readMembership(directory: MeshDirectory): Promise<Membership | undefined> {
  const path = membershipFile(directory);
  const bytes = await readFileIfPresent(path);
  if (bytes === undefined) return undefined;
  const parsed = parseCanonicalJson((textOf(bytes) ?? "").trimEnd());
  const { node, address, genesis, logKey } = parsed.ok && isJsonObject(parsed.value) ? parsed.value : {};
  if (
    typeof node !== "string" ||
    typeof address !== "string" ||
    typeof genesis !== "string" ||
    typeof logKey !== "string"
  )
    throw damaged(path);
  return { node, address, genesis, logKey };
}

/** Remembers the mesh that was joined. */
export async function writeMembership(directory: MeshDirectory, membership: Membership): Promise<void> {
  await writeFileAtomically(
    membershipFile(directory),
    bytesOf(`${canonicalJson({ ...membership })}\n`),
    0o600,
  );
}

function damaged(path: string): CliError {
  return new CliError(
    exitCode.unreadable,
    `${path} is damaged: restore it from a backup, or remove it together with agent/keys and join again (on the control plane's machine: start "troth up --node" with another name)`,
  );
}

function membershipFile({ agent }: MeshDirectory): string {
  return join(agent, "membership.json");
}
