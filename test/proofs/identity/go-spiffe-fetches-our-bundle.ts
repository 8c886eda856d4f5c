import { writeFile } from "node:fs/promises";
import { join } from "node:path";
import { domainBundle } from "../../../src/control-plane/index.ts";
import { parseSpiffeId, writeSpiffeBundle } from "../../../src/identity/index.ts";
import { edgeCertificate } from "../../apparatus/edge-certificate.ts";
import { buildGoPeer, missingForGoPeer } from "../../apparatus/go-peer.ts";
import { MeshInProcess } from "../../apparatus/mesh-in-process.ts";
import { runCommand } from "../../apparatus/running-command.ts";
import { temporaryFolder } from "../../contracts/temporary-folder.ts";
import { type Claim, failed, ok, skipped } from "../claim.ts";

const timeoutMillis = 60_000;
const domain = "shop.example";

/** `federation.FetchBundle` of go-spiffe, which SPIRE uses too. */
export const claim: Claim = {
  text: "go-spiffe fetches our bundle over https_spiffe and over https_web, and refuses the endpoint under another SPIFFE ID or CA",
  run: async () => {
    const missing = missingForGoPeer("spiffe-federation");
    if (missing !== undefined) return skipped(missing);
    await using folder = await temporaryFolder();
    const peer = await buildGoPeer("spiffe-federation", folder.path);
    const spiffeId = parseSpiffeId(`spiffe://${domain}/troth/bundle-endpoint`);
    if (!spiffeId.ok) return failed(spiffeId.reason);
    const web = edgeCertificate("localhost");
    const [certificateFile, keyFile] = [join(folder.path, "web.pem"), join(folder.path, "web.key")];
    await Promise.all([writeFile(certificateFile, web.chainPem), writeFile(keyFile, web.keyPem)]);
    const listen = { host: "127.0.0.1", port: 0 };
    const fetch = async (...args: readonly string[]): Promise<string> => {
      const { code, stdout, stderr } = await runCommand(peer, args, { timeoutMillis });
      return code === 0 ? stdout.trim() : `refused: ${stderr.trim()}`;
    };

    const spiffeProof = { profile: "https_spiffe", spiffeId: spiffeId.value } as const;
    await using spiffe = await MeshInProcess.found({
      trustDomain: domain,
      bundleEndpoint: { listen, proof: spiffeProof },
    });
    const bundleFile = join(folder.path, "bundle.json");
    const { state } = spiffe.controlPlane.writer;
    await writeFile(bundleFile, writeSpiffeBundle(domainBundle(state, spiffe.root.trustDomain, undefined)));
    const spiffeUrl = `https://${spiffe.controlPlane.bundleEndpointAddress}/`;
    const bySpiffe = await fetch("fetch-spiffe", spiffeUrl, domain, spiffeId.value, bundleFile);
    const wrongId = await fetch("fetch-spiffe", spiffeUrl, domain, `spiffe://${domain}/other`, bundleFile);

    const webProof = { profile: "https_web", certificateFile, keyFile } as const;
    await using plain = await MeshInProcess.found({
      trustDomain: domain,
      bundleEndpoint: { listen, proof: webProof },
    });
    const [, port] = plain.controlPlane.bundleEndpointAddress.split(":");
    const webUrl = `https://localhost:${port}/`;
    const otherCa = join(folder.path, "other.pem");
    await writeFile(otherCa, edgeCertificate("localhost").chainPem);
    const byWeb = await fetch("fetch-web", webUrl, domain, certificateFile);
    const wrongCa = await fetch("fetch-web", webUrl, domain, otherCa);

    const good = /^1 authorities, sequence [1-9][0-9]*, refresh hint 1m0s$/;
    const isRight = good.test(bySpiffe) && good.test(byWeb);
    const isRefused = wrongId.startsWith("refused") && wrongCa.startsWith("refused");
    const seen = `https_spiffe: ${bySpiffe}; https_web: ${byWeb}`;
    return isRight && isRefused ? ok(seen) : failed(`${seen}; other ID: ${wrongId}; other CA: ${wrongCa}`);
  },
};
