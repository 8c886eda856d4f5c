import { fail, type Result } from "../base/result.ts";
import { readHandedOn } from "../protocol/index.ts";
import { entryBodies } from "../trust-log/index.ts";
import type { LogWriter } from "./log-writer.ts";

const kinds = ["prefix.delegate", "prefix.recall"] as const;

/** What the holder of a prefix has signed, as its node passes it on. */
export interface HandingOnRequest {
  readonly node: string;
  readonly kind: string;
  /** Canonical JSON: the body of the entry. */
  readonly body: Uint8Array;
}

/** Why it does not come into the log. */
export type HandingOnRefusal = "malformed-request" | "not-on-this-node" | "refused";

/** Enters what a holder of a prefix has signed; whether it may is for the fold to say, from the signature. */
export async function enterHandingOn(
  writer: LogWriter,
  { node, kind: named, body: bytes }: HandingOnRequest,
): Promise<Result<number, HandingOnRefusal>> {
  const kind = kinds.find((one) => one === named);
  const handedOn = readHandedOn(bytes);
  if (kind === undefined || handedOn === undefined)
    return fail("malformed-request", "expected the canonical JSON of a prefix.delegate or prefix.recall");
  const { instance, body } = handedOn;
  if (writer.state.instances.get(instance)?.node !== node)
    return fail("not-on-this-node", `no such instance on ${node}`);
  if (!entryBodies[kind].safeParse(body).success)
    return fail("malformed-request", `expected the body of a ${kind}`);
  const written = await writer.write([{ role: "issuer", kind, body }]);
  return written.ok ? written : fail("refused", `${written.reason} ${written.detail}`);
}
