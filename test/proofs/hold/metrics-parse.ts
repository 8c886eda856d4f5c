import { spawnSync } from "node:child_process";
import { readFile } from "node:fs/promises";
import { join } from "node:path";
import { z } from "zod";
import { demoMesh } from "../../apparatus/demo-mesh.ts";
import { buildGoPeer, missingForGoPeer } from "../../apparatus/go-peer.ts";
import { httpCall } from "../../apparatus/http-call.ts";
import { outboundAddressOf, repository, troth } from "../../apparatus/running-mesh.ts";
import { temporaryFolder } from "../../contracts/temporary-folder.ts";
import { type Claim, failed, ok, skipped } from "../claim.ts";

const strangeRequests = 500;
/** What 500 requests for 500 names may add: one label set for each kind of outcome, not for each name. */
const addedSeriesMax = 4;
const seriesMax = 1_000;

const processesSchema = z.object({
  processes: z.array(z.object({ process: z.string(), address: z.string(), service: z.string().optional() })),
});
const pageSchema = z.object({ families: z.record(z.string(), z.number()), problems: z.array(z.string()) });

/** The parser and the linter are Prometheus' own Go packages. */
export const claim: Claim = {
  text: "every process's /metrics is read by Prometheus' own parser, lint-free and named in the guide, and 500 requests for made-up names add no series of their own",
  limitSeconds: 600,
  uses: [demoMesh],
  run: async () => {
    const missing = missingForGoPeer("prometheus-parser");
    if (missing !== undefined) return skipped(missing);
    await using folder = await temporaryFolder();
    const parser = await buildGoPeer("prometheus-parser", folder.path);
    const mesh = await demoMesh.get();
    const read = async (address: string): Promise<z.infer<typeof pageSchema>> => {
      const { body } = await httpCall({ address, path: "/metrics" });
      const { status, stdout, stderr } = spawnSync(parser, { input: body, encoding: "utf8" });
      if (status !== 0) throw new Error(`${address}: ${stderr.trim()}`);
      return pageSchema.parse(JSON.parse(stdout));
    };

    const { processes } = processesSchema.parse(
      JSON.parse((await troth(mesh.path, "status", "-o", "json")).stdout),
    );
    const kinds = new Set(processes.map(({ process }) => process));
    if (kinds.size !== 3) return failed(`status names only ${[...kinds].join(", ")}`);
    const families = new Set<string>();
    let series = 0;
    for (const { process, address } of processes) {
      const page = await read(address);
      if (page.problems.length > 0) return failed(`${process}: ${page.problems.join("; ")}`);
      for (const name of Object.keys(page.families)) families.add(name);
      series += sizeOf(page);
      if (sizeOf(page) > seriesMax) return failed(`${process}: ${sizeOf(page)} series`);
    }

    const guide = await readFile(join(repository, "docs", "guides", "observability.md"), "utf8");
    const untold = [...families].filter(
      (name) => /^(troth|http)_/.test(name) && !guide.includes(`\`${name}`),
    );
    if (untold.length > 0) return failed(`the guide does not name ${untold.join(", ")}`);

    const web = processes.find(({ service }) => service === "/shop/web");
    if (web === undefined) return failed("status does not name the sidecar of /shop/web");
    const outbound = outboundAddressOf(mesh, "/shop/web");
    const before = sizeOf(await read(web.address));
    for (let number = 0; number < strangeRequests; number += 1)
      await httpCall({
        address: outbound,
        host: `a${number}.made-up.mesh`,
        path: `/${number}`,
        method: methodOf(number),
      });
    const added = sizeOf(await read(web.address)) - before;
    if (added > addedSeriesMax * methods.length)
      return failed(`${strangeRequests} names added ${added} series`);
    return ok(
      `${processes.length} processes, ${families.size} families, ${series} series, no complaint; ${strangeRequests} made-up names added ${added}`,
    );
  },
};

const methods = ["GET", "HEAD", "PROPFIND"];

function methodOf(number: number): string {
  return methods[number % methods.length] ?? "GET";
}

function sizeOf({ families }: { readonly families: Readonly<Record<string, number>> }): number {
  return Object.values(families).reduce((sum, count) => sum + count, 0);
}
