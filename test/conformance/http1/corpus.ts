import { codingRows } from "./coding-rows.ts";
import { connectionRows } from "./connection-rows.ts";
import type { CorpusRow } from "./corpus-row.ts";
import { hostRows } from "./host-rows.ts";
import { lengthRows } from "./length-rows.ts";
import { lineRows } from "./line-rows.ts";
import { requestLineRows } from "./request-line-rows.ts";
import { targetRows } from "./target-rows.ts";

/** Malformed, ambiguous and merely odd HTTP/1 requests, and what has to become of each. */
export const corpus: readonly CorpusRow[] = [
  ...lengthRows,
  ...codingRows,
  ...lineRows,
  ...requestLineRows,
  ...targetRows,
  ...hostRows,
  ...connectionRows,
];
