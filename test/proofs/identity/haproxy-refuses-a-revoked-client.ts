import { X509Certificate } from "node:crypto";
import { mkdir, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { freePort } from "../../../src/cli/free-port.ts";
import { askExported, askWith, openExportedCaller } from "../../apparatus/exported-caller.ts";
import { missingForeign, openForeignProxy } from "../../apparatus/foreign-proxy.ts";
import { RunningCommand } from "../../apparatus/running-command.ts";
import { apparatus, openMesh, startTroth, troth } from "../../apparatus/running-mesh.ts";
import { temporaryFolder } from "../../contracts/temporary-folder.ts";
import { type Claim, failed, ok, skipped } from "../claim.ts";

const readyMillisMax = 30_000;
const refusedMillisMax = 20_000;
const attempts = 20;
const asksPerSecond = 10;

/** A thief has copied certificate and key of a client; the certificate is revoked, and the client gets another. */
export const claim: Claim = {
  text: "an unmodified HAProxy with crl-file from troth identity export refuses a revoked certificate, and the client whose it was goes on with another",
  run: async () => {
    const missing = missingForeign("haproxy");
    if (missing !== undefined) return skipped(missing);
    await using folder = await temporaryFolder();
    await using mesh = await openMesh({ kind: "up" });
    const appPort = await freePort();
    const [file = "", ...args] = apparatus("small-app.ts");
    await using _app = new RunningCommand(file, args, { env: { PORT: String(appPort) } });
    const out = join(folder.path, "svid");
    const pidFile = join(folder.path, "pid");
    const exec = `test ! -e ${pidFile} || kill -USR2 "$(cat ${pidFile})"`;
    const options = ["--service", "/proof/haproxy", "--out", out, "--exec", exec];
    await using exported = startTroth(mesh.path, ["identity", "export", ...options]);
    await exported.untilLine(/^ready/, readyMillisMax);
    const own = join(folder.path, "haproxy");
    await mkdir(own);
    await using haproxy = await openForeignProxy("haproxy", {
      credentials: join(out, "current"),
      folder: own,
      side: "callee",
      to: `127.0.0.1:${appPort}`,
      readsRevocationLists: true,
      peerId: "",
    });
    await writeFile(pidFile, String(haproxy.pid));
    await using client = await openExportedCaller(mesh, "/proof/client");
    const copied = await client.credentials();
    const before = await askWith(copied, haproxy.address);
    if (before !== "200") return failed(`before the revocation: ${before}`);

    const over = new AbortController();
    const { address } = haproxy;
    const load = askExported(client, {
      address,
      requestsPerSecond: asksPerSecond,
      isOver: () => over.signal.aborted,
    });
    const serial = new X509Certificate(String(copied.cert)).serialNumber.toLowerCase();
    const revoke = [
      "identity",
      "revoke",
      "--serial",
      serial,
      "--reason",
      "key-compromise",
      "--wait",
      "--yes",
    ];
    const started = performance.now();
    const revoked = await troth(mesh.path, ...revoke);
    if (revoked.code !== 0) return failed(`troth ${revoke.join(" ")}: ${revoked.stderr}`);
    let said = "200";
    while (said === "200" && performance.now() - started < refusedMillisMax) {
      said = await askWith(copied, address);
      await sleep(20);
    }
    const seconds = ((performance.now() - started) / 1000).toFixed(1);
    const answers: string[] = [];
    for (let attempt = 0; attempt < attempts; attempt += 1) answers.push(await askWith(copied, address));
    await sleep(1_000);
    const after = await client.ask(address);
    over.abort();
    const { requests, failures } = await load;
    const served = answers.filter((answer) => answer === "200").length;
    // Until it has its other certificate, the client itself shows the revoked one.
    const figure = `refused ${seconds} s after the command began (${/alert [a-z ]+/.exec(said)?.[0] ?? said}), ${served} of ${attempts} attempts served from then on; the client went on with another certificate, ${failures.length} of its ${requests} requests were refused meanwhile`;
    if (served > 0 || said === "200") return failed(figure);
    return after === "200" ? ok(figure) : failed(`${figure}; at last: ${after}`);
  },
};
