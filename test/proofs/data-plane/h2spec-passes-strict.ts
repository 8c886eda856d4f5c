import { buildGoPeer, missingForGoPeer } from "../../apparatus/go-peer.ts";
import { obtainSvid } from "../../apparatus/granted-svid.ts";
import { runCommand } from "../../apparatus/running-command.ts";
import { apparatus, openMesh, openService, troth } from "../../apparatus/running-mesh.ts";
import { openTlsTunnel } from "../../apparatus/tls-tunnel.ts";
import { temporaryFolder } from "../../contracts/temporary-folder.ts";
import { type Claim, failed, ok, skipped } from "../claim.ts";

const cases = 146;
/** A port that speaks HTTP/1.1 as well answers what is no preface of HTTP/2 in HTTP/1.1, before it closes. */
const http1Case = "2: Sends invalid connection preface";
const runMillisMax = 120_000;

export const claim: Claim = {
  text: "both listeners of a sidecar pass every case of h2spec, the strict ones too: the mesh's behind mutual TLS all of them, the application's in cleartext all but the one that finds it speak HTTP/1.1 as well",
  run: async () => {
    const missing = missingForGoPeer("h2spec");
    if (missing !== undefined) return skipped(missing);
    await using folder = await temporaryFolder();
    await using mesh = await openMesh({ kind: "up", requestTokens: "off" });
    const building = buildGoPeer("h2spec", folder.path);
    await using callee = await openService(mesh, "/proof/callee", { command: apparatus("streaming-app.ts") });
    await using caller = await openService(mesh, "/proof/caller");
    const allowed = await troth(mesh.path, "allow", "/proof/caller", "/proof/callee");
    if (allowed.code !== 0) return failed(`troth allow: ${allowed.stderr}`);
    await using svid = await obtainSvid(mesh, "/proof/caller");
    await using tunnel = await openTlsTunnel(callee.status.address, svid.credentials);
    const h2spec = await building;
    const [, outboundPort = ""] = caller.outboundAddress.split(":");
    const listeners: readonly Listener[] = [
      {
        name: "the application's listener",
        args: [outboundPort, "callee.proof.mesh"],
        expected: [http1Case],
      },
      { name: "the mesh's listener", args: [String(tunnel.port)], expected: [] },
    ];
    const seen = await Promise.all(listeners.map((listener) => examine(h2spec, listener)));
    const said = seen.map((one) => one.said).join("; ");
    const [broken] = seen.filter(({ isPassed }) => !isPassed);
    return broken === undefined ? ok(said) : failed(`${said}\n${broken.failures}`);
  },
};

interface Listener {
  readonly name: string;
  readonly args: readonly string[];
  /** The cases that must fail, and no others. */
  readonly expected: readonly string[];
}

async function examine(
  h2spec: string,
  { name, args, expected }: Listener,
): Promise<{ readonly isPassed: boolean; readonly said: string; readonly failures: string }> {
  const { stdout, millis } = await runCommand(h2spec, args, { timeoutMillis: runMillisMax });
  const [, summary = "no summary"] = /\n([0-9]+ tests, .*)/.exec(stdout) ?? [];
  const failures = stdout.includes("Failures:") ? stdout.slice(stdout.indexOf("Failures:")) : stdout;
  const failed = expected.length;
  const isPassed =
    summary === `${cases} tests, ${cases - failed} passed, 0 skipped, ${failed} failed` &&
    expected.every((one) => failures.includes(`× ${one}`));
  return { isPassed, said: `${name}: ${summary} in ${(millis / 1000).toFixed(1)} s`, failures };
}
