import { join } from "node:path";

/** Where what is compiled or downloaded for measuring is kept. */
export const cacheFolder: string = join(import.meta.dirname, "..", "node_modules", ".cache", "troth-bench");
