import { failed, type Outcome, ok } from "../proofs/claim.ts";
import type { PreparedClone } from "./clean-clone.ts";

const preparationMillisMax = 90_000;

/** What is claimed of the first start of a clean clone. */
export function judgeFirstStart({ firstStart, commit, node }: PreparedClone): Outcome {
  const { readyLine, adminAddress, preparationMillis, millis, status } = firstStart;
  const figure =
    `Node.js ${node.version}, commit ${commit}: prepared in ${seconds(preparationMillis)} s, ready after ${seconds(millis)} s; ` +
    `bin/troth status: ${status.instances.length} instances, ${status.treeSize} entries`;
  if (!/^127\.0\.0\.1:[0-9]+$/.test(adminAddress)) return failed(`no admin address in: ${readyLine}`);
  if (!readyLine.includes("founded")) return failed(`not a new trust domain: ${readyLine}`);
  const ledger = status.instances.find(({ service }) => service === "/shop/ledger");
  if ((ledger?.requestsForwarded ?? 0) === 0) return failed(`no traffic reached the ledger; ${figure}`);
  return preparationMillis <= preparationMillisMax ? ok(figure) : failed(`more than 90 s: ${figure}`);
}

function seconds(millis: number): string {
  return (millis / 1000).toFixed(1);
}
