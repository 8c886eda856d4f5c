import { performance } from "node:perf_hooks";
import { base64Of } from "../../../src/base/bytes.ts";
import { domainBundle } from "../../../src/control-plane/index.ts";
import {
  type CertificateAuthority,
  parseSpiffeId,
  spiffeIdOfTrustDomain,
  writeSpiffeBundle,
} from "../../../src/identity/index.ts";
import { testDomain, testWorld } from "../../../src/identity/svid-for-tests.ts";
import { makePapers, meet } from "../../apparatus/hostile-peer.ts";
import { MeshInProcess } from "../../apparatus/mesh-in-process.ts";
import type { Workload } from "../../apparatus/workload.ts";
import { type Claim, failed, ok } from "../claim.ts";

const clerk = "spiffe://bank.example/bank/clerk";

/** bank.example publishes its keys; shop.example reads them, and lets a clerk of the bank call its ledger. */
export const claim: Claim = {
  text: "a federated trust domain's new root is taken up from its endpoint; SVIDs under another domain's root, endpoints that are somebody else and bundles that go back are refused",
  run: async () => {
    const id = parseSpiffeId("spiffe://bank.example/troth/bundle-endpoint");
    if (!id.ok) return failed(id.reason);
    const listen = { host: "127.0.0.1", port: 0 };
    const bundleEndpoint = { listen, proof: { profile: "https_spiffe", spiffeId: id.value } } as const;
    await using bank = await MeshInProcess.found({ trustDomain: "bank.example", bundleEndpoint });
    await using shop = await MeshInProcess.found({ trustDomain: "shop.example" });
    const ledger = await shop.open("/shop/ledger");
    await federate(shop, bank, {});
    await shop.put("foreignrule.put", {
      from: clerk,
      to: "/shop/ledger",
      effect: "allow",
      methods: [],
      paths: [],
    });
    await shop.settled();

    const next = testDomain("bank.example", testWorld(Math.floor(Date.now() / 1000)));
    const before = await answered(ledger, bank.intermediate, clerk);
    const early = await answered(ledger, next.issuer, clerk);
    const begun = performance.now();
    await bank.put("ca.trust", { certificate: base64Of(next.root.certificate.der) });
    const error = await shop.refreshFederation("bank.example");
    await shop.settled();
    const millis = Math.round(performance.now() - begun);
    const rotated = await answered(ledger, next.issuer, clerk);
    if (`${before} ${early} ${rotated} ${error}` !== "true false true ")
      return failed(`old root ${before}, new root before ${early} and after ${rotated}: ${error}`);

    const attacks: readonly (readonly [string, () => Promise<boolean>])[] = [
      ["bank's ID under shop's root", async () => !(await answered(ledger, shop.intermediate, clerk))],
      [
        "shop's ID under bank's root",
        async () => !(await answered(ledger, bank.intermediate, "spiffe://shop.example/bank/clerk")),
      ],
      [
        "a CA as a caller",
        async () =>
          !(await answered(ledger, bank.intermediate, spiffeIdOfTrustDomain(bank.root.trustDomain))),
      ],
      ["an endpoint with another SPIFFE ID", () => isRefused(shop, bank, { endpointSpiffeId: clerk })],
      ["an endpoint under another CA", () => isRefused(shop, bank, { bundle: bundleOf(shop, bank) })],
      [
        "a bundle of a lower sequence",
        () => isRefused(shop, bank, { bundle: bundleOf(bank, bank, 2n ** 60n) }),
      ],
    ];
    const through: string[] = [];
    for (const [name, attack] of attacks) if (!(await attack())) through.push(name);
    if (through.length > 0) return failed(through.join("; "));
    return ok(
      `${attacks.length} of ${attacks.length} attacks refused; a new root was in force ${millis} ms after its entry, once asked for`,
    );
  },
};

/** What `keys` says of its keys, as if it were said of `named`. */
function bundleOf(keys: MeshInProcess, named: MeshInProcess, sequence?: bigint): string {
  const { state } = keys.controlPlane.writer;
  return writeSpiffeBundle({ ...domainBundle(state, named.root.trustDomain, sequence) });
}

async function federate(
  shop: MeshInProcess,
  bank: MeshInProcess,
  changes: { readonly endpointSpiffeId?: string; readonly bundle?: string },
): Promise<void> {
  await shop.put("federation.put", {
    trustDomain: "bank.example",
    url: `https://${bank.controlPlane.bundleEndpointAddress}/`,
    profile: "https_spiffe",
    endpointSpiffeId: "spiffe://bank.example/troth/bundle-endpoint",
    bundle: bundleOf(bank, bank),
    ...changes,
  });
}

/** Whether what the endpoint says is not taken. */
async function isRefused(
  shop: MeshInProcess,
  bank: MeshInProcess,
  changes: { readonly endpointSpiffeId?: string; readonly bundle?: string },
): Promise<boolean> {
  await federate(shop, bank, changes);
  const before = shop.controlPlane.writer.state.federation.get("bank.example")?.bundle;
  const error = await shop.refreshFederation("bank.example");
  return error !== "" && shop.controlPlane.writer.state.federation.get("bank.example")?.bundle === before;
}

async function answered(ledger: Workload, issuer: CertificateAuthority, spiffeId: string): Promise<boolean> {
  const { answer } = await meet(ledger.sidecar.inboundAddress, makePapers(issuer, [spiffeId]));
  return answer.startsWith("HTTP/1.1 200");
}
