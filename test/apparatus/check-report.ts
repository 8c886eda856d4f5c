import { join } from "node:path";
import { z } from "zod";
import { RunningCommand } from "./running-command.ts";
import { repository, troth } from "./running-mesh.ts";

const reportSchema = z.looseObject({
  success: z.boolean(),
  categories: z.array(
    z.looseObject({
      categoryName: z.string(),
      checks: z.array(
        z.looseObject({
          description: z.string(),
          result: z.enum(["success", "warning", "error"]),
          error: z.string().optional(),
          remedy: z.string().optional(),
          command: z.string().optional(),
          hint: z.string().optional(),
        }),
      ),
    }),
  ),
});

/** One line of `troth check -o json`. */
export type CheckedLine = z.infer<typeof reportSchema>["categories"][number]["checks"][number];

/** What `troth check -o json` says of a mesh directory. */
export async function checkOf(
  path: string,
  ...args: readonly string[]
): Promise<{ readonly isSuccess: boolean; readonly lines: readonly CheckedLine[] }> {
  const { stdout, stderr } = await troth(path, "check", "-o", "json", ...args);
  if (stdout === "") throw new Error(`troth check said: ${stderr}`);
  const { success, categories } = reportSchema.parse(JSON.parse(stdout));
  return { isSuccess: success, lines: categories.flatMap(({ checks }) => checks) };
}

/** Runs a line of shell as a person would, with this checkout's `troth` in the path. */
export function startShell(line: string): RunningCommand {
  // The last program takes the shell's place, so that a signal reaches it.
  const last = line.lastIndexOf("&& ");
  const taken = last < 0 ? `exec ${line}` : `${line.slice(0, last)}&& exec ${line.slice(last + 3)}`;
  const path = `${join(repository, "bin")}:${process.env["PATH"] ?? ""}`;
  return new RunningCommand("sh", ["-c", taken], { env: { PATH: path } });
}
