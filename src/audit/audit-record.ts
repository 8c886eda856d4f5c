import { canonicalJson, type JsonObject } from "../base/canonical-json.ts";

/** What every record of a proxy's audit log says; fields are allow-listed, and no byte of a body is among them. */
export type AuditRecord =
  | {
      readonly type: "boot";
      readonly instance: string;
      readonly service: string;
      /** Bytes of a torn tail that opening the log cut off. */
      readonly tornBytes: number;
    }
  | {
      readonly type: "decision";
      /** Hexadecimal, random; a refusal tells it to the caller. */
      readonly decisionId: string;
      readonly effect: "allow" | "deny";
      readonly reason: string;
      readonly rule: string;
      readonly caller: string;
      readonly callee: string;
      readonly method: string;
      readonly path: string;
      readonly evaluatorVersion: number;
      readonly freshness: string;
    }
  | {
      readonly type: "connection-refused";
      readonly reason: string;
      readonly detail: string;
      readonly direction: "inbound" | "outbound";
      readonly peer: string;
      /** How many of the same kind this record stands for. */
      readonly count: number;
    }
  | { readonly type: "gap"; readonly lost: number };

const textCharactersMax = 512;

/**
 * The bytes of a record: canonical JSON with the time in milliseconds and the size of the trust log that was in force.
 */
export function auditEntry(
  record: AuditRecord,
  at: { readonly timeMillis: number; readonly treeSize: number },
): Uint8Array {
  const fields: JsonObject = { ...record, timeMillis: at.timeMillis, treeSize: at.treeSize };
  const bounded = Object.entries(fields).map(([name, value]) => [
    name,
    typeof value === "string" ? boundedText(value) : value,
  ]);
  return Buffer.from(canonicalJson(Object.fromEntries(bounded)));
}

function boundedText(text: string): string {
  return text.slice(0, textCharactersMax).toWellFormed();
}
