import { execFileSync } from "node:child_process";

// @bufbuild/buf's own launcher needs its install script; the platform's package carries the binary.
const buf = `node_modules/@bufbuild/buf-${process.platform}-${process.arch}/bin/buf`;

/** Generates src/protocol/generated from proto/, and docs/reference from the sources. */
for (const step of ["lint", "generate"]) execFileSync(buf, [step], { stdio: "inherit" });
execFileSync(process.execPath, ["scripts/reference.ts"], { stdio: "inherit" });
