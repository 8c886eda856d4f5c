import { join as joinPath } from "node:path";
import { Readable } from "node:stream";
import { afterEach, expect, it, vi } from "vitest";
import { temporaryFolder } from "../../../test/contracts/temporary-folder.ts";
import { SmallTrustLog, signerNamed } from "../../../test/fakes/small-trust-log.ts";
import { base64Of } from "../../base/bytes.ts";
import { exportPrivateKey } from "../../crypto/index.ts";
import { formatJoinToken } from "../../protocol/index.ts";
import { verifierKeyOf } from "../../trust-log/index.ts";
import { exitCode } from "../exit-codes.ts";
import { join } from "./nodes.ts";

afterEach(() => vi.restoreAllMocks());

function giveInput(text: string): void {
  vi.spyOn(process.stdin, Symbol.asyncIterator).mockReturnValue(
    Readable.from([text])[Symbol.asyncIterator](),
  );
}

it("takes a join token from standard input", async () => {
  await using folder = await temporaryFolder();
  const { genesis, logKey } = new SmallTrustLog();
  const inviteKey = base64Of(exportPrivateKey(signerNamed("invite").privateKey));
  const nobody = {
    node: "edge-1",
    address: "127.0.0.1:1",
    genesis,
    logKey: verifierKeyOf(logKey),
    inviteKey,
  };
  giveInput(`${formatJoinToken(nobody)}\n`);

  await expect(join("-", { dir: joinPath(folder.path, "mesh") })).rejects.toMatchObject({
    exitCode: exitCode.unreachable,
  });
});

it("takes no more of standard input than a token has", async () => {
  await using folder = await temporaryFolder();
  giveInput("x".repeat(1_000_000));

  await expect(join("-", { dir: folder.path })).rejects.toThrow("this is no join token");
});
