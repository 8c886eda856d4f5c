import { mkdir, readdir, rm } from "node:fs/promises";
import { join } from "node:path";
import { z } from "zod";
import { bytesOf, textOf } from "../base/bytes.ts";
import { codeOf } from "../base/mesh-error.ts";
import { readFileIfPresent, writeFileAtomically } from "../storage/index.ts";
import type { MeshDirectory } from "./mesh-directory.ts";

/** A process of this machine and where its health and metrics are. */
export interface ScrapeTarget {
  readonly process: "control-plane" | "node-agent" | "sidecar" | "gateway" | "router" | "export";
  /** host:port, on loopback. */
  readonly address: string;
  readonly node?: string | undefined;
  readonly service?: string | undefined;
  readonly instance?: string | undefined;
}

/** How Prometheus reads it (`file_sd_configs`): label names are ours. */
const fileSchema = z
  .array(
    z.object({
      targets: z.array(z.string()).length(1),
      labels: z.object({
        troth_process: z.enum(["control-plane", "node-agent", "sidecar", "gateway", "router", "export"]),
        troth_node: z.string().optional(),
        troth_service: z.string().optional(),
        troth_instance: z.string().optional(),
      }),
    }),
  )
  .length(1);

const fileName = /^(?:control-plane|node-agent|sidecar|gateway|router|export)\.([0-9]{1,10})\.json$/;

/** Says in the mesh directory where this process is to be asked, until the result is disposed of. */
export async function announceTarget(
  { targets }: MeshDirectory,
  target: ScrapeTarget,
): Promise<AsyncDisposable> {
  await mkdir(targets, { recursive: true, mode: 0o700 });
  await forgetTheDead(targets);
  const path = join(targets, `${target.process}.${process.pid}.json`);
  const labels = {
    troth_process: target.process,
    troth_node: target.node,
    troth_service: target.service,
    troth_instance: target.instance,
  };
  const text = `${JSON.stringify([{ targets: [target.address], labels }])}\n`;
  await writeFileAtomically(path, bytesOf(text), 0o600);
  return { [Symbol.asyncDispose]: () => rm(path, { force: true }) };
}

/** The processes that have said where they are and live. */
export async function readTargets({ targets }: MeshDirectory): Promise<ScrapeTarget[]> {
  const found: ScrapeTarget[] = [];
  for (const name of await filesOf(targets)) {
    if (!isAlive(name)) continue;
    const target = parseTarget((await readFileIfPresent(join(targets, name))) ?? new Uint8Array(0));
    if (target !== undefined) found.push(target);
  }
  return found;
}

/** Reads a file of {@link announceTarget}; undefined where it is none, or is being replaced. */
function parseTarget(bytes: Uint8Array): ScrapeTarget | undefined {
  try {
    const parsed = fileSchema.safeParse(JSON.parse(textOf(bytes) ?? ""));
    const [entry] = parsed.data ?? [];
    const [address] = entry?.targets ?? [];
    if (entry === undefined || address === undefined) return undefined;
    const { troth_process, troth_node, troth_service, troth_instance } = entry.labels;
    return {
      process: troth_process,
      address,
      node: troth_node,
      service: troth_service,
      instance: troth_instance,
    };
  } catch {
    return undefined;
  }
}

/** A process that was killed could not take its file with it. */
async function forgetTheDead(folder: string): Promise<void> {
  for (const name of await filesOf(folder)) if (!isAlive(name)) await rm(join(folder, name), { force: true });
}

async function filesOf(folder: string): Promise<string[]> {
  try {
    return (await readdir(folder)).filter((name) => fileName.test(name)).sort();
  } catch (error) {
    if (codeOf(error) === "ENOENT") return [];
    throw error;
  }
}

function isAlive(name: string): boolean {
  try {
    return process.kill(Number(fileName.exec(name)?.[1]), 0);
  } catch (error) {
    return codeOf(error) === "EPERM";
  }
}
