import { createPrivateKey, createPublicKey } from "node:crypto";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { base64Of } from "../../../src/base/bytes.ts";
import { meshDirectory, requireKnownDomain } from "../../../src/cli/mesh-directory.ts";
import { openLogFiles } from "../../../src/control-plane/index.ts";
import { openFileKeyStore } from "../../../src/storage/index.ts";
import { leafHash, type NoteSigner, signEntry } from "../../../src/trust-log/index.ts";
import { httpCall } from "../../apparatus/http-call.ts";
import { leavesOnDisk } from "../../apparatus/journal-entries.ts";
import { openMesh, outboundAddressOf, statusOf, troth } from "../../apparatus/running-mesh.ts";
import { temporaryFolder } from "../../contracts/temporary-folder.ts";
import { type Claim, failed, ok } from "../claim.ts";

const waitMillisMax = 60_000;

/** The forgery is in the journal, and the control plane signs and sends it: the log's key orders whatever it likes. */
export const claim: Claim = {
  text: "a rule that the thief of the log's key puts into the log has no effect: followers take the entry, say so, and refuse as before",
  limitSeconds: 240,
  run: async () => {
    await using folder = await temporaryFolder();
    const path = join(folder.path, "mesh");
    {
      await using _mesh = await openMesh({ kind: "demo", path, env: { LOAD_RATE: "5" } });
    }
    const forged = await forge(path);

    await using mesh = await openMesh({ kind: "demo", path, env: { LOAD_RATE: "5" } });
    const deadline = performance.now() + waitMillisMax;
    const wanted = `entry ${forged.index}: `;
    let who: string[] = [];
    while (who.length < 7) {
      if (performance.now() > deadline) return failed(`only ${who.length} said so: ${who.join(", ")}`);
      await sleep(200);
      const { alarms } = await statusOf(path);
      who = alarms
        .filter(({ reason, detail }) => reason === "entry-without-effect" && detail.includes(wanted))
        .map(({ detail }) => detail.split(wanted)[0] ?? "");
    }
    const { instances } = await statusOf(path);
    const behind = instances.filter(({ isServing, size }) => isServing && size <= forged.index).length;
    if (behind > 0) return failed(`${behind} followers have not taken the entry`);
    if (!(await leavesOnDisk(join(path, "agent", "log", "segments"))).includes(forged.leaf))
      return failed("the agent does not have the entry");
    const answer = await httpCall({
      address: outboundAddressOf(mesh, "/shop/mallory"),
      host: "ledger.shop.mesh",
      path: "/entries?limit=1",
    });
    if (answer.status !== 403 || !answer.body.includes('"no-rule"'))
      return failed(`mallory got ${answer.status} ${answer.body}`);
    const verdict = await troth(path, "log", "verify");
    if (verdict.code !== 1 || !verdict.stdout.includes(`entry ${forged.index}: `))
      return failed(`troth log verify says ${verdict.code} ${verdict.stdout}`);
    return ok(
      `entry ${forged.index} taken by ${who.length - 1} sidecars and the agent, alarmed by all, without effect; mallory still gets 403; troth log verify names it`,
    );
  },
};

/** Appends an entry that allows mallory the ledger, in the founder's name, signed by the log's key. */
async function forge(path: string): Promise<{ readonly index: number; readonly leaf: string }> {
  const directory = meshDirectory(path);
  const domain = await requireKnownDomain(directory);
  const key = await (await openFileKeyStore(directory.controlPlaneKeys)).load("log");
  const privateKey = createPrivateKey({
    key: Buffer.from(key ?? new Uint8Array(0)),
    format: "der",
    type: "pkcs8",
  });
  const thief: NoteSigner = { name: domain.operator, privateKey, publicKey: createPublicKey(privateKey) };
  const body = { from: "/shop/mallory", to: "/shop/ledger", effect: "allow", methods: [], paths: [] };
  const statement = {
    kind: "rule.put",
    version: 1,
    log: domain.genesis,
    author: domain.operator,
    sequence: 1_000_000,
    body,
  };
  const entry = signEntry(statement, [thief]);
  await using files = await openLogFiles(directory.controlPlaneLog);
  return { index: await files.journal.append(entry), leaf: base64Of(leafHash(entry)) };
}
