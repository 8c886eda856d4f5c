import type { Command } from "commander";
import { adminListen, directoryOf, durationOrShare, help, logLevel, output } from "./options.ts";
import { addRevocationCommands } from "./revocation.ts";

/** Who the workloads are: `identity …`. */
export function addIdentityCommands(program: Command): void {
  const identity = program.command("identity").description("who the workloads are");
  identity
    .command("list")
    .description("every instance with its SPIFFE ID and when its certificate ends")
    .addOption(output())
    .addHelpText("after", help([["troth identity list -o wide", "with serial numbers"]]))
    .action(async (options) =>
      (await import("../commands/identity.ts")).listIdentities({ ...options, dir: directoryOf(program) }),
    );
  identity
    .command("show")
    .description("SPIFFE ID, instances and certificates of a service, or one instance")
    .argument("<service|instance>", "a service, or an instance by its UUID or the beginning of it")
    .addOption(output())
    .addHelpText(
      "after",
      help(
        [
          ["troth identity show /shop/ledger", "all its instances"],
          ["troth identity show 3f2a91c0", "one instance, also a revoked one"],
        ],
        [[4, "no such service or instance"]],
      ),
    )
    .action(async (service: string, options) =>
      (await import("../commands/identity.ts")).showIdentity(service, {
        ...options,
        dir: directoryOf(program),
      }),
    );
  identity
    .command("needs-rotation")
    .description("instances whose certificate ends soon; a question for scripts")
    .option("--within <time>", "as 10m or 2h, or a share of the certificate's lifetime", durationOrShare, {
      share: 0.25,
    })
    .addOption(output())
    .addHelpText(
      "after",
      help(
        [
          ["troth identity needs-rotation", "less than a quarter of its life left"],
          ["troth identity needs-rotation --within 10m", "ends within ten minutes"],
        ],
        [
          [0, "some need it; they are listed"],
          [1, "none does"],
        ],
      ),
    )
    .action(async (options) =>
      (await import("../commands/identity.ts")).needsRotation({ ...options, dir: directoryOf(program) }),
    );
  addRevocationCommands(program, identity);
  addExport(program, identity);
}

function addExport(program: Command, identity: Command): void {
  identity
    .command("export")
    .description(
      "be an instance for a proxy that is not Troth's: keep its certificate and key renewed as files",
    )
    .requiredOption("--service <name>", "service that the proxy serves or calls as")
    .requiredOption(
      "--out <folder>",
      "where svid.pem, svid.pem.key, bundle.pem and crl.pem go; closed to other users",
    )
    .option("--advertise <host:port>", "where the proxy takes calls of the mesh; sent there while it listens")
    .option("--exec <command>", "run by the shell whenever the files are others, to have them read again")
    .addOption(adminListen())
    .addOption(logLevel())
    .addHelpText(
      "after",
      help([
        ["troth identity export --service /shop/ledger --out ledger", "for a proxy that calls"],
        [
          "troth identity export --service /shop/ledger --out ledger --advertise 127.0.0.1:9443",
          "for one that is called",
        ],
      ]),
    )
    .action(async (options) =>
      (await import("../commands/export-identity.ts")).exportIdentity({
        ...options,
        dir: directoryOf(program),
      }),
    );
}
