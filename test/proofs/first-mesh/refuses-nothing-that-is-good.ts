import { askOverTls } from "../../apparatus/ask-over-tls.ts";
import { demoMesh } from "../../apparatus/demo-mesh.ts";
import { obtainSvid } from "../../apparatus/granted-svid.ts";
import { ledgerRequest } from "../../apparatus/refused-connection.ts";
import { servingInstance, waiveRequestTokens } from "../../apparatus/running-mesh.ts";
import { type Claim, failed, ok } from "../claim.ts";

/** The control of the refusals: the same client, the same request, a certificate that is in the log. */
export const claim: Claim = {
  text: "the client that is refused with every bad certificate is answered with a good one (control)",
  uses: [demoMesh],
  run: async () => {
    const mesh = await demoMesh.get();
    const { address } = await servingInstance(mesh.path, "/shop/ledger");
    await waiveRequestTokens(mesh, "/shop/ledger");
    await using granted = await obtainSvid(mesh, "/shop/payments");
    const seen = await askOverTls({ address, credentials: granted.credentials, request: ledgerRequest });
    const [statusLine = "nothing"] = seen.answer.split("\r\n");
    // The ledger itself says 422 to an empty charge: the request went through both checks to the application.
    return statusLine.startsWith("HTTP/1.1 422")
      ? ok(`the ledger's own application answered "${statusLine}" after ${seen.millis.toFixed(0)} ms`)
      : failed(`instead of the ledger's 422 it got: ${statusLine}`);
  },
};
