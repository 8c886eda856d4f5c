import { constants } from "node:fs";
import { access, stat } from "node:fs/promises";
import { isPortFree } from "../free-port.ts";
import type { MeshDirectory } from "../mesh-directory.ts";
import { holderOfPort } from "../port-holder.ts";
import { shellWord } from "../shell-word.ts";
import type { CheckReport } from "./check-report.ts";
import { checkDiskSpace, nearestFolder } from "./directory-checks.ts";

const category = "before the first start";
const nodeMajorMin = 24;
/** The clock of a machine on which this program exists is past this: 2026-01-01. */
const plausibleSecondsMin = 1_767_225_600;
const plausibleSecondsMax = plausibleSecondsMin + 30 * 365 * 86_400;

/** `troth check --pre`: whether `troth up` can be expected to start here. */
export async function checkBeforeStart(
  report: CheckReport,
  directory: MeshDirectory,
  about: { readonly nowSeconds: number; readonly port: number; readonly nodeVersion: string },
): Promise<void> {
  await report.run(
    { category, anchor: "node-version", description: `Node.js is ${nodeMajorMin} or newer` },
    () =>
      Number.parseInt(about.nodeVersion, 10) >= nodeMajorMin
        ? undefined
        : {
            error: `this is Node.js ${about.nodeVersion}`,
            remedy:
              "start Troth with bin/troth, which brings a fitting Node.js, or install one from https://nodejs.org",
          },
  );
  await report.run(
    { category, anchor: "directory-writable", description: "the directory can be made and written" },
    async () => {
      const folder = await nearestFolder(directory.path);
      if (!(await stat(folder)).isDirectory())
        return {
          error: `${folder} is a file`,
          remedy: "name another directory with --dir or TROTH_DIR, or move the file away",
          command: `mv ${shellWord(folder)} ${shellWord(`${folder}.aside`)}`,
        };
      return access(folder, constants.W_OK | constants.X_OK).then(
        () => undefined,
        () => ({
          error: `${folder} cannot be written by user ${process.geteuid?.() ?? "?"}`,
          remedy: "name another directory with --dir or TROTH_DIR, or open this one to yourself",
          command: `chmod u+rwx ${shellWord(folder)}`,
        }),
      );
    },
  );
  await checkDiskSpace(report, directory.path);
  await report.run(
    { category, anchor: "port-free", description: `port ${about.port} of loopback is free` },
    async () => {
      if (await isPortFree(about.port)) return undefined;
      const holder = await holderOfPort(about.port);
      return {
        error: `${holder ?? "another process"} listens there`,
        remedy:
          "nothing needs to be done: a first start takes another port, or the one of --listen 127.0.0.1:PORT",
        isWarning: true,
      };
    },
  );
  await report.run({ category, anchor: "clock-plausible", description: "the clock is plausible" }, () => {
    const { nowSeconds } = about;
    if (nowSeconds >= plausibleSecondsMin && nowSeconds < plausibleSecondsMax) return undefined;
    return {
      error: `this machine's clock shows ${new Date(nowSeconds * 1000).toISOString()}`,
      remedy: "set it right: certificates and epochs carry its time",
      command: "timedatectl set-ntp true",
    };
  });
}
