import type { Command } from "commander";
import { directoryOf, output } from "./options.ts";

/** Who the workloads are: `identity …`. */
export function addIdentityCommands(program: Command): void {
  const identity = program.command("identity").description("who the workloads are");
  identity
    .command("show")
    .description("SPIFFE ID, instances and certificates of a service")
    .argument("<service>")
    .addOption(output())
    .action(async (service: string, options) =>
      (await import("../commands/identity.ts")).showIdentity(service, {
        ...options,
        dir: directoryOf(program),
      }),
    );
}
