import { join } from "node:path";
import { bytesOf, textOf } from "../base/bytes.ts";
import { canonicalJson, isJsonObject, parseCanonicalJson } from "../base/canonical-json.ts";
import type { Membership } from "../node-agent/index.ts";
import { readFileIfPresent, writeFileAtomically } from "../storage/index.ts";
import { CliError, exitCode } from "./exit-codes.ts";
import type { MeshDirectory } from "./mesh-directory.ts";

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
    throw new CliError(
      exitCode.unreadable,
      `${path} is damaged: restore it from a backup, or remove it together with agent/keys and join again (on the control plane's machine: start "troth up --node" with another name)`,
    );
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

function membershipFile({ agent }: MeshDirectory): string {
  return join(agent, "membership.json");
}
