import { z } from "zod";
import { troth } from "./running-mesh.ts";

const listSchema = z.looseObject({
  items: z.array(
    z.looseObject({
      id: z.string(),
      kind: z.string(),
      state: z.string(),
      isInUse: z.boolean(),
      certificates: z.number(),
      instances: z.number(),
    }),
  ),
});
const ownKeysSchema = z.looseObject({
  items: z.array(z.looseObject({ name: z.string(), role: z.string(), state: z.string() })),
});
const preparedSchema = z.looseObject({ authority: z.string() });

/** One row of `troth ca show -o json`. */
export type ShownAuthority = z.infer<typeof listSchema>["items"][number];

/** Runs `troth ca …` and throws what it says where it does not end well. */
export function ca(path: string, ...args: readonly string[]): Promise<string> {
  return answerOf(path, "ca", ...args);
}

async function answerOf(path: string, ...args: readonly string[]): Promise<string> {
  const { code, stdout, stderr } = await troth(path, ...args);
  if (code !== 0) throw new Error(`troth ${args.join(" ")} ended with ${code}: ${stderr.trim()}`);
  return stdout;
}

/** The authorities of a mesh. */
export async function authoritiesOf(path: string): Promise<readonly ShownAuthority[]> {
  return listSchema.parse(JSON.parse(await ca(path, "show", "-o", "json"))).items;
}

/** What an authority may be. */
export type ShownKind = "root" | "intermediate" | "jwt-svid" | "wit-svid";

/** The authority of a kind that is in use. */
export async function authorityInUse(path: string, kind: ShownKind): Promise<ShownAuthority> {
  const found = (await authoritiesOf(path)).find((one) => one.kind === kind && one.isInUse);
  if (found === undefined) throw new Error(`no ${kind} is in use`);
  return found;
}

/** Prepares an authority and has it sign; its id. */
export async function addAuthority(path: string, kind: ShownKind): Promise<string> {
  const prepared = JSON.parse(await ca(path, "prepare", "--kind", kind, "-o", "json"));
  const { authority } = preparedSchema.parse(prepared);
  await ca(path, "activate", authority, "--wait");
  return authority;
}

/** Replaces the key by which the control plane acts in a role, and removes the old one; the name of the new one. */
export async function replaceOwnKey(path: string, role: "issuer" | "sequencer" | "server"): Promise<string> {
  const { items } = ownKeysSchema.parse(JSON.parse(await answerOf(path, "key", "list", "-o", "json")));
  const old = items.find((one) => one.role === role && one.state === "acting");
  if (old === undefined) throw new Error(`no key acts as ${role}`);
  await answerOf(path, "key", "prepare", role);
  const activated = await answerOf(path, "key", "activate", role, "--wait", "-o", "json");
  await answerOf(path, "key", "remove", old.name, "--wait");
  return z.looseObject({ name: z.string() }).parse(JSON.parse(activated)).name;
}
