import { execFile } from "node:child_process";
import { join } from "node:path";
import { callByGrpcJs, interopCases } from "../peers/grpc-js/interop-cases.ts";
import type { GrpcTarget } from "../peers/grpc-js/interop-client.ts";
import { buildGoPeer } from "./go-peer.ts";
import { repository } from "./running-mesh.ts";

const caseMillisMax = 45_000;

/** Someone's gRPC: the interop service, and the cases that call it. */
export interface GrpcPeer {
  /** Also one component of its service's name. */
  readonly name: string;
  /** Serves on 127.0.0.1 at the port in PORT, and prints when calls begin and end. */
  readonly serve: readonly [string, ...string[]];
  /** Runs one case: undefined where it passes, what was seen instead where it does not. */
  readonly call: (name: string, target: GrpcTarget) => Promise<string | undefined>;
}

/** By @grpc/grpc-js. */
export const grpcJsPeer: GrpcPeer = {
  name: "js",
  serve: [process.execPath, join(repository, "test", "peers", "grpc-js", "serve.ts")],
  call: callByGrpcJs,
};

/** By Go's gRPC, with its own cases and its own service; built into a folder. */
export async function buildGrpcGoPeer(folder: string): Promise<GrpcPeer> {
  const program = await buildGoPeer("grpc-interop", folder);
  return {
    name: "go",
    serve: [program, "serve"],
    call: (name, { address, authority }) =>
      new Promise((resolve) => {
        const options = { timeout: caseMillisMax };
        execFile(program, ["call", address, authority, name], options, (error, _stdout, stderr) =>
          resolve(error === null ? undefined : stderr.trim() || error.message),
        );
      }),
  };
}

/** What came of gRPC's interop cases between two peers. */
export interface InteropOutcome {
  readonly passed: number;
  /** One line for each case that did not pass. */
  readonly failures: readonly string[];
}

/** Runs all cases, one after the other. */
export async function runInteropCases(client: GrpcPeer, target: GrpcTarget): Promise<InteropOutcome> {
  const failures: string[] = [];
  for (const name of interopCases) {
    const seen = await client.call(name, target);
    if (seen !== undefined) failures.push(`${client.name} to ${target.authority}: ${name}: ${seen}`);
  }
  return { passed: interopCases.length - failures.length, failures };
}
