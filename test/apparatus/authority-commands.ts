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
const preparedSchema = z.looseObject({ authority: z.string() });

/** One row of `troth ca show -o json`. */
export type ShownAuthority = z.infer<typeof listSchema>["items"][number];

/** Runs `troth ca …` and throws what it says where it does not end well. */
export async function ca(path: string, ...args: readonly string[]): Promise<string> {
  const { code, stdout, stderr } = await troth(path, "ca", ...args);
  if (code !== 0) throw new Error(`troth ca ${args.join(" ")} ended with ${code}: ${stderr.trim()}`);
  return stdout;
}

/** The authorities of a mesh. */
export async function authoritiesOf(path: string): Promise<readonly ShownAuthority[]> {
  return listSchema.parse(JSON.parse(await ca(path, "show", "-o", "json"))).items;
}

/** The root or the intermediate that is in use. */
export async function authorityInUse(path: string, kind: "root" | "intermediate"): Promise<ShownAuthority> {
  const found = (await authoritiesOf(path)).find((one) => one.kind === kind && one.isInUse);
  if (found === undefined) throw new Error(`no ${kind} is in use`);
  return found;
}

/** Prepares an authority and has it sign; its id. */
export async function addAuthority(path: string, kind: "root" | "intermediate"): Promise<string> {
  const prepared = JSON.parse(await ca(path, "prepare", "--kind", kind, "-o", "json"));
  const { authority } = preparedSchema.parse(prepared);
  await ca(path, "activate", authority, "--wait");
  return authority;
}
