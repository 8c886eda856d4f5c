import { execFile, spawnSync } from "node:child_process";
import { createHash } from "node:crypto";
import { existsSync, mkdirSync, readFileSync, renameSync } from "node:fs";
import { join } from "node:path";
import { promisify } from "node:util";
import { messageOf } from "../src/base/mesh-error.ts";
import { cacheFolder } from "./cache-folder.ts";

const folder = join(import.meta.dirname, "load-generator");
const compilerFlags = ["-O2", "-std=c11", "-Wall", "-Wextra"];

/** A program in C of this bench. */
export interface CompiledProgram {
  readonly name: string;
  /** In `load-generator/`; the first one is compiled, the others are included by it. */
  readonly sources: readonly [string, ...string[]];
  /** Passed to the linker with `-l`. */
  readonly libraries: readonly string[];
}

/** HTTP/1.1 load. */
export const httpLoadGenerator: CompiledProgram = {
  name: "load",
  sources: ["load.c", "result.h"],
  libraries: [],
};

/** Load of unary gRPC calls. */
export const grpcLoadGenerator: CompiledProgram = {
  name: "grpc-load",
  sources: ["grpc-load.c", "result.h"],
  libraries: ["nghttp2"],
};

/** The application that answers them. */
export const grpcAnswerer: CompiledProgram = {
  name: "grpc-answer",
  sources: ["grpc-answer.c"],
  libraries: ["nghttp2"],
};

/** How to get what the gRPC programs are compiled with; undefined where it is there. */
export function missingForGrpc(): string | undefined {
  const options = { input: "#include <nghttp2/nghttp2.h>\n", encoding: "utf8" as const };
  const { status } = spawnSync("cc", ["-E", "-x", "c", "-o", "/dev/null", "-"], options);
  return status === 0 ? undefined : "apt-get install gcc libc6-dev libnghttp2-dev";
}

/** Compiles a program unless these very sources have been; resolves to its path. Needs a C compiler. */
export async function compileProgram({ name, sources, libraries }: CompiledProgram): Promise<string> {
  const digest = createHash("sha256");
  for (const source of sources) digest.update(readFileSync(join(folder, source)));
  const program = join(cacheFolder, `${name}-${digest.digest("hex").slice(0, 16)}`);
  if (existsSync(program)) return program;
  mkdirSync(cacheFolder, { recursive: true });
  const unfinished = `${program}.${process.pid}`;
  const linked = libraries.map((library) => `-l${library}`);
  try {
    const args = [...compilerFlags, "-o", unfinished, join(folder, sources[0]), ...linked];
    await promisify(execFile)("cc", args);
  } catch (error) {
    throw new Error(
      `${name} could not be compiled; install a C compiler (Debian: apt-get install gcc libc6-dev): ${messageOf(error)}`,
      { cause: error },
    );
  }
  renameSync(unfinished, program);
  return program;
}
