import type { Command } from "commander";
import { directoryOf, help, output } from "./options.ts";

/** Where requests go: `route …`. */
export function addRouteCommands(program: Command): void {
  program
    .command("route")
    .description("where requests go, and why")
    .command("explain")
    .description("which prefix a name belongs to, who holds it, and which instances would be asked")
    .argument("<name>", "e.g. /media/video/live, or the host live.video.media.mesh")
    .option("--from <service>", "as this service's proxy, which must be on this machine, sees it")
    .addOption(output())
    .addHelpText(
      "after",
      help(
        [
          ["troth route explain live.video.media.mesh", ""],
          ["troth route explain /media/video/live --from /shop/web", ""],
        ],
        [[1, "such a request goes nowhere now"]],
      ),
    )
    .action(async (name: string, options) =>
      (await import("../commands/explain-route.ts")).explainRoute(name, {
        ...options,
        dir: directoryOf(program),
      }),
    );
}
