import { createPrivateKey, createPublicKey } from "node:crypto";
import { cp } from "node:fs/promises";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { type KnownDomain, meshDirectory } from "../../src/cli/mesh-directory.ts";
import { openFileKeyStore } from "../../src/storage/index.ts";
import type { NoteSigner } from "../../src/trust-log/index.ts";
import { temporaryFolder } from "../contracts/temporary-folder.ts";
import { AppendingOperator } from "./appending-operator.ts";
import { entriesOnDisk } from "./journal-entries.ts";
import { openMesh } from "./running-mesh.ts";
import { Shared } from "./shared-apparatus.ts";

const rules = 24;
const epochMillis = 11_000;

/** What a mesh that has ended left on disk. */
export interface StoppedMesh extends AsyncDisposable {
  readonly path: string;
  readonly domain: KnownDomain;
  readonly entries: readonly Uint8Array[];
  /** The key that signs its checkpoints. */
  readonly logSigner: NoteSigner;
  /** A copy to do damage to. */
  readonly copy: () => Promise<{ readonly path: string } & AsyncDisposable>;
}

/** A real log of some size, with every kind of entry that a first mesh writes; no process of it runs any more. */
export const stoppedMesh: Shared<StoppedMesh> = new Shared(async () => {
  await using stack = new AsyncDisposableStack();
  const { path } = stack.use(await temporaryFolder());
  let domain: KnownDomain;
  {
    await using mesh = await openMesh({ kind: "demo", path, env: { LOAD_RATE: "5" } });
    const operator = await AppendingOperator.founder(mesh);
    for (let number = 1; number <= rules; number += 1)
      await operator.append("rule.put", {
        from: `/proof/caller-${number}`,
        to: "/proof/callee",
        effect: "allow",
        methods: [],
        paths: [],
      });
    operator.close();
    await sleep(epochMillis);
    domain = mesh.domain;
  }
  const directory = meshDirectory(path);
  const keyStore = await openFileKeyStore(directory.controlPlaneKeys);
  const key = await keyStore.load("log");
  if (key === undefined) throw new Error("no log key in the key store");
  const privateKey = createPrivateKey({ key: Buffer.from(key), format: "der", type: "pkcs8" });
  const left = stack.move();
  return {
    path,
    domain,
    entries: await entriesOnDisk(join(directory.controlPlaneLog, "segments")),
    logSigner: {
      name: `${domain.trustDomain}/trust-log`,
      privateKey,
      publicKey: createPublicKey(privateKey),
    },
    copy: async () => {
      await using copied = new AsyncDisposableStack();
      const folder = copied.use(await temporaryFolder());
      const target = join(folder.path, "mesh");
      await cp(path, target, { recursive: true, filter: (source) => !source.endsWith(".sock") });
      const kept = copied.move();
      return { path: target, [Symbol.asyncDispose]: () => kept.disposeAsync() };
    },
    [Symbol.asyncDispose]: () => left.disposeAsync(),
  };
});
