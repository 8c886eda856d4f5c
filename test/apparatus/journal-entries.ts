import { readdir } from "node:fs/promises";
import { join } from "node:path";
import { base64Of, textOf } from "../../src/base/bytes.ts";
import {
  canonicalJson,
  isJsonObject,
  type JsonObject,
  parseCanonicalJson,
} from "../../src/base/canonical-json.ts";
import { readJournal } from "../../src/storage/index.ts";
import { type EntryStatement, leafHash, parseEntry } from "../../src/trust-log/index.ts";

/** All whole entries of a journal on disk, in order; a torn tail, as a writer at work leaves one, is left out. */
export async function entriesOnDisk(folder: string): Promise<Uint8Array[]> {
  const entries: Uint8Array[] = [];
  for await (const finding of readJournal(folder)) {
    if ("bytes" in finding) entries.push(finding.bytes);
    else if (finding.problem !== "torn") throw new Error(`entry ${finding.index}: ${finding.problem}`);
  }
  return entries;
}

/** What the entries of a mesh's trust log say, by index. */
export async function statementsOf(controlPlaneLog: string): Promise<EntryStatement[]> {
  const entries = await entriesOnDisk(join(controlPlaneLog, "segments"));
  return entries.map((entry, index) => {
    const parsed = parseEntry(entry);
    if (!parsed.ok) throw new Error(`entry ${index}: ${parsed.detail}`);
    return parsed.value.statement;
  });
}

/** The records of all audit logs that the proxies of a service left on disk. */
export async function auditRecordsOf(proxies: string, service: string): Promise<JsonObject[]> {
  const folder = join(proxies, service.slice(1).replaceAll("/", "."));
  const records: JsonObject[] = [];
  for (const instance of await readdir(folder))
    for (const entry of await entriesOnDisk(join(folder, instance, "audit"))) {
      const text = textOf(entry) ?? "";
      const parsed = parseCanonicalJson(text);
      if (!parsed.ok || !isJsonObject(parsed.value) || canonicalJson(parsed.value) !== text)
        throw new Error(`not a record: ${text.slice(0, 100)}`);
      records.push(parsed.value);
    }
  return records;
}

/** The leaf hashes of all whole entries of a journal on disk, in base64. */
export async function leavesOnDisk(folder: string): Promise<string[]> {
  return (await entriesOnDisk(folder)).map((entry) => base64Of(leafHash(entry)));
}
