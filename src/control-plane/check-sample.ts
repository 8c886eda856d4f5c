import { fail, ok, type Result } from "../base/result.ts";
import { buildCertificateRequest, generateP256, parseCertificateRequest } from "../crypto/index.ts";
import {
  type CertificateAuthority,
  checkSvid,
  type IssuerWorld,
  issueSvid,
  spiffeIdOfControlPlane,
  type TrustBundle,
  trustBundlesOf,
} from "../identity/index.ts";

const sampleSeconds = 60;

/** Whether peers with this bundle would accept what an authority signs: one is signed, and checked as they do. */
export function checkSample(
  authority: CertificateAuthority,
  bundle: TrustBundle,
  world: IssuerWorld,
): Result<true, "unfit-certificate"> {
  const proof = parseCertificateRequest(buildCertificateRequest(generateP256().privateKey));
  if (!proof.ok) return fail("unfit-certificate", proof.reason);
  const spiffeId = spiffeIdOfControlPlane(authority.trustDomain);
  const request = { proof: proof.value, spiffeId, lifetimeSeconds: sampleSeconds };
  const sample = issueSvid(authority, request, world);
  if (!sample.ok) return fail("unfit-certificate", `${sample.reason} ${sample.detail}`);
  const checked = checkSvid(sample.value.chain, trustBundlesOf(bundle), world.clock.nowSeconds());
  return checked.ok
    ? ok(true)
    : fail("unfit-certificate", `what it signs would be refused: ${checked.reason} ${checked.detail}`);
}
