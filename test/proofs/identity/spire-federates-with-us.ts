import { writeFile } from "node:fs/promises";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { base64Of } from "../../../src/base/bytes.ts";
import { domainBundle } from "../../../src/control-plane/index.ts";
import { parseSpiffeId, writeSpiffeBundle } from "../../../src/identity/index.ts";
import { testDomain, testWorld } from "../../../src/identity/svid-for-tests.ts";
import { buildGoPeer, missingForGoPeer } from "../../apparatus/go-peer.ts";
import { MeshInProcess, until } from "../../apparatus/mesh-in-process.ts";
import { RunningCommand, runCommand } from "../../apparatus/running-command.ts";
import { missingForSpire, Spire, spireVersion } from "../../apparatus/spire.ts";
import { temporaryFolder } from "../../contracts/temporary-folder.ts";
import { type Claim, failed, ok, skipped } from "../claim.ts";

const timeoutMillis = 60_000;
const retryMillis = 500;
const peerId = "spiffe://spire.example/peer";
const endpointId = "spiffe://shop.example/troth/bundle-endpoint";

/** The workload of SPIRE is a program with go-spiffe that has its SVID and the bundles from SPIRE's agent. */
export const claim: Claim = {
  text: `SPIRE ${spireVersion} and Troth federate over https_spiffe in both directions, follow each other's roots, and their workloads call each other by foreign rules`,
  run: async () => {
    const missing = missingForSpire() ?? missingForGoPeer("spiffe-federation");
    if (missing !== undefined) return skipped(missing);
    await using folder = await temporaryFolder();
    const peer = await buildGoPeer("spiffe-federation", folder.path);
    const spiffeId = parseSpiffeId(endpointId);
    if (!spiffeId.ok) return failed(spiffeId.reason);
    const listen = { host: "127.0.0.1", port: 0 };
    const bundleEndpoint = { listen, proof: { profile: "https_spiffe", spiffeId: spiffeId.value } } as const;
    await using shop = await MeshInProcess.found({ trustDomain: "shop.example", bundleEndpoint });
    await using spire = await Spire.open(folder.path, "spire.example");
    await federate(shop, spire, folder.path);
    const weRead = await shop.refreshFederation("spire.example");
    await shop.put("ca.trust", { certificate: base64Of(anotherRoot()) });
    const theyRead = await certificatesKnownTo(spire);
    if (weRead !== "" || theyRead !== 2)
      return failed(`we read: ${weRead}; SPIRE has ${theyRead} of 2 roots`);

    const [ledger, web] = await Promise.all([shop.open("/shop/ledger"), shop.open("/shop/web")]);
    const selector = `unix:uid:${process.getuid?.() ?? 0}`;
    const parent = "spiffe://spire.example/node";
    const entry = ["-parentID", parent, "-spiffeID", peerId, "-selector", selector];
    await spire.said("entry", "create", ...entry, "-federatesWith", "spiffe://shop.example");
    await spire.startAgent(parent);
    const url = `https://${ledger.sidecar.inboundAddress}/`;
    const call = async (): Promise<string> => {
      const args = ["call", spire.agentSocket, url, "spiffe://shop.example/shop/ledger"];
      const { stdout, stderr } = await runCommand(peer, args, { timeoutMillis });
      return stdout.slice(0, 3) || stderr.trim();
    };
    const deadline = performance.now() + timeoutMillis;
    let first = await call();
    // SPIRE's agent needs some seconds to hear of an entry.
    while (first !== "403" && performance.now() < deadline) {
      await sleep(retryMillis);
      first = await call();
    }
    if (first !== "403") return failed(`called with SPIRE's SVID and without a rule: ${first}`);
    await shop.put("foreignrule.put", {
      from: peerId,
      to: "/shop/ledger",
      effect: "allow",
      methods: [],
      paths: [],
    });
    await shop.settled();
    const theirs = await call();

    await using server = new RunningCommand(
      peer,
      ["serve", spire.agentSocket, "spiffe://shop.example/shop/web"],
      {},
    );
    const address = /serves at (\S+)/.exec(await server.untilLine(/^serves at/, timeoutMillis))?.[1] ?? "";
    await shop.put("remote.put", { trustDomain: "spire.example", service: "/peer", addresses: [address] });
    await shop.settled();
    const ours = await web.call("peer.spire.example");
    const seen = `theirs: 403 without a rule, ${theirs} with one; ours: ${ours.status} ${ours.body}`;
    const isRight = theirs === "200" && ours.body === "hello spiffe://shop.example/shop/web";
    return isRight ? ok(`both bundles read over https_spiffe, 2 of 2 roots followed; ${seen}`) : failed(seen);
  },
};

function anotherRoot(): Uint8Array {
  return testDomain("shop.example", testWorld(Math.floor(Date.now() / 1000))).root.certificate.der;
}

/** Hands each side's bundle over to the other, as people would. */
async function federate(shop: MeshInProcess, spire: Spire, folder: string): Promise<void> {
  await shop.put("federation.put", {
    trustDomain: "spire.example",
    url: spire.bundleUrl,
    profile: "https_spiffe",
    endpointSpiffeId: "spiffe://spire.example/spire/server",
    bundle: await spire.said("bundle", "show", "-format", "spiffe"),
  });
  const file = join(folder, "shop.json");
  const { state } = shop.controlPlane.writer;
  await writeFile(file, writeSpiffeBundle(domainBundle(state, shop.root.trustDomain, undefined)));
  const url = `https://${shop.controlPlane.bundleEndpointAddress}/`;
  const place = [
    "-bundleEndpointURL",
    url,
    "-bundleEndpointProfile",
    "https_spiffe",
    "-endpointSpiffeID",
    endpointId,
  ];
  const bundle = ["-trustDomainBundlePath", file, "-trustDomainBundleFormat", "spiffe"];
  await spire.said("federation", "create", "-trustDomain", "shop.example", ...place, ...bundle);
}

/** Has SPIRE read our endpoint, and counts the roots of ours that it has then. */
async function certificatesKnownTo(spire: Spire): Promise<number> {
  await spire.said("federation", "refresh", "-id", "shop.example");
  let count = 0;
  await until(async () => {
    const known = await spire.said("bundle", "list", "-id", "spiffe://shop.example");
    count = known.split("BEGIN CERTIFICATE").length - 1;
    return count > 1;
  }, "the new root in SPIRE's bundle of ours");
  return count;
}
