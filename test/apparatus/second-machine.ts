import { access, cp } from "node:fs/promises";
import { join } from "node:path";
import { z } from "zod";
import { type MeshDirectory, meshDirectory } from "../../src/cli/mesh-directory.ts";
import { type JoinToken, parseJoinToken } from "../../src/protocol/index.ts";
import { temporaryFolder } from "../contracts/temporary-folder.ts";
import type { Ended } from "./running-command.ts";
import { troth } from "./running-mesh.ts";

const inviteSchema = z.looseObject({ token: z.string() });

/** A directory of its own, as another machine has it. */
export interface SecondMachine extends AsyncDisposable {
  readonly path: string;
  readonly directory: MeshDirectory;
  readonly join: (token: string) => Promise<Ended>;
  /** Makes it show the same key as another one. */
  readonly takeKeysOf: (other: SecondMachine) => Promise<void>;
  /** Whether it remembers that it has joined, or anything of a log. */
  readonly hasState: () => Promise<boolean>;
}

/** Makes a machine that has not joined anything. */
export async function openSecondMachine(): Promise<SecondMachine> {
  const folder = await temporaryFolder();
  const directory = meshDirectory(folder.path);
  return {
    path: folder.path,
    directory,
    join: (token) => troth(folder.path, "join", token),
    takeKeysOf: (other) => cp(other.directory.agentKeys, directory.agentKeys, { recursive: true }),
    hasState: async () =>
      (await isThere(join(directory.agent, "membership.json"))) ||
      (await isThere(join(directory.agent, "log"))),
    [Symbol.asyncDispose]: () => folder[Symbol.asyncDispose](),
  };
}

/** What `troth node invite` prints for a node. */
export async function inviteNode(path: string, node: string): Promise<string> {
  const { code, stdout, stderr } = await troth(path, "node", "invite", node, "-o", "json");
  if (code !== 0) throw new Error(`troth node invite: ${stderr}`);
  return inviteSchema.parse(JSON.parse(stdout)).token;
}

/** What a join token says. */
export function readToken(text: string): JoinToken {
  const token = parseJoinToken(text);
  if (!token.ok) throw new Error(token.detail);
  return token.value;
}

function isThere(path: string): Promise<boolean> {
  return access(path).then(
    () => true,
    () => false,
  );
}
