import { type Command, Option } from "commander";
import { directoryOf, help, output, waitTimeout, wholeNumber } from "./options.ts";

/** The proxies: `proxy …`. */
export function addProxyCommands(program: Command): void {
  const proxy = program.command("proxy").description("the proxies beside the applications");
  proxy
    .command("status")
    .description("how far each proxy has followed the trust log, and what it has done")
    .addOption(output())
    .addHelpText(
      "after",
      `${help([["troth proxy status -o wide", "with addresses"]])}
STATUS is SYNCED; BEHIND by so many entries; STALE, without a new epoch for so long; SILENT, never
heard of by the control plane; DRAINING, taken out of service or replaced by another; or STOPPED
before an entry that it cannot follow, as one that is older than the entry's kind.
`,
    )
    .action(async (options) =>
      (await import("../commands/proxies.ts")).proxyStatus({ ...options, dir: directoryOf(program) }),
    );
  proxy
    .command("config")
    .description("what a proxy of this machine has in force")
    .argument("<proxy>", "instance, the beginning of one, or a service with one instance")
    .addOption(
      new Option("--type <part>", "only this part").choices(["identity", "endpoints", "rules", "limits"]),
    )
    .addOption(output())
    .addHelpText(
      "after",
      help(
        [["troth proxy config /shop/ledger --type rules", ""]],
        [[4, "no such proxy, or not on this machine"]],
      ),
    )
    .action(async (name: string, options) =>
      (await import("../commands/proxies.ts")).proxyConfig(name, { ...options, dir: directoryOf(program) }),
    );
  proxy
    .command("endpoints")
    .description("whom a proxy of this machine calls: zone, requests in flight, and who is out and why")
    .argument("<proxy>", "instance, the beginning of one, or a service")
    .option("--service <name>", "only the instances of this service")
    .addOption(output())
    .addHelpText(
      "after",
      help(
        [["troth proxy endpoints /shop/web --service /shop/payments", "who is called, and who is left out"]],
        [[4, "no such proxy, or not on this machine"]],
      ),
    )
    .action(async (name: string, options) =>
      (await import("../commands/endpoints.ts")).proxyEndpoints(name, {
        ...options,
        dir: directoryOf(program),
      }),
    );
  addDrainCommand(program, proxy);
  addReplaceCommand(program, proxy);
}

function addDrainCommand(program: Command, proxy: Command): void {
  proxy
    .command("drain")
    .description("send an instance no new requests; those under way end")
    .argument("<proxy>", "instance, the beginning of one, or a service")
    .option("--resume", "take it into service again", false)
    .option("--all", "all instances of the service", false)
    .option("--wait", "wait until the proxies have it", false)
    .addOption(waitTimeout())
    .addOption(output())
    .addHelpText(
      "after",
      help(
        [
          ["troth proxy drain /shop/web --all --wait", "before a restart"],
          ["troth proxy drain /shop/web --all --resume", "after it"],
        ],
        [
          [4, "no such instance"],
          [5, "written, and some proxies did not acknowledge in time"],
        ],
      ),
    )
    .action(async (name: string, options) =>
      (await import("../commands/proxies.ts")).drainProxy(name, { ...options, dir: directoryOf(program) }),
    );
}

function addReplaceCommand(program: Command, proxy: Command): void {
  proxy
    .command("replace")
    .description("start sidecars of this machine anew, as the program is on disk now; no request is lost")
    .argument("[proxy]", "instance, the beginning of one, or a service")
    .option(
      "--all",
      "all instances of the service, or, without one, of this machine; one after the other",
      false,
    )
    .option(
      "--drain-seconds <seconds>",
      "how long the old one ends what it has: open streams and WebSockets (at most 600)",
      wholeNumber,
      600,
    )
    .addOption(output())
    .addHelpText(
      "after",
      help(
        [
          ["troth proxy replace /shop/web", "after an upgrade of Troth"],
          ["troth proxy replace --all", ""],
        ],
        [
          [1, "the new one did not come up, and why; the old one serves on"],
          [4, "no such sidecar on this machine"],
        ],
      ),
    )
    .action(async (name: string | undefined, options) =>
      (await import("../commands/replace-proxy.ts")).replaceProxies(name, {
        ...options,
        dir: directoryOf(program),
      }),
    );
}
