import tls from "node:tls";
import { askOverTls, type TlsAnswer } from "../../apparatus/ask-over-tls.ts";
import { demoMesh } from "../../apparatus/demo-mesh.ts";
import { obtainSvid } from "../../apparatus/granted-svid.ts";
import type { Credentials } from "../../apparatus/hostile-certificates.ts";
import { readMetric } from "../../apparatus/http-call.ts";
import { ledgerRequest } from "../../apparatus/refused-connection.ts";
import { servingInstance, waiveRequestTokens } from "../../apparatus/running-mesh.ts";
import { type Claim, failed, ok } from "../claim.ts";

/** A resumed session shows no certificate anew, so nothing of it could be checked again. */
export const claim: Claim = {
  text: "a TLS session is not resumed by a proxy: a client that resumes with Node's default server gets a full handshake or a refusal",
  uses: [demoMesh],
  run: async () => {
    const mesh = await demoMesh.get();
    const { address, adminAddress } = await servingInstance(mesh.path, "/shop/ledger");
    await waiveRequestTokens(mesh, "/shop/ledger");
    await using granted = await obtainSvid(mesh, "/shop/payments");
    const { credentials } = granted;
    if (!(await doesClientResume(credentials))) return failed("the client of this experiment cannot resume");

    const first = await askOverTls({ address, credentials, request: ledgerRequest });
    if (!first.answer.startsWith("HTTP/1.1 422")) return failed(`no answer to begin with: ${first.answer}`);
    const offered = first.sessions.length;
    const attempts: TlsAnswer[] = [];
    // With the certificate again, and with nothing but the old session to rest on.
    for (const session of first.sessions)
      for (const shown of [credentials, {}])
        attempts.push(await askOverTls({ address, credentials: shown, request: ledgerRequest, session }));
    const resumed = attempts.filter(({ isResumed }) => isResumed);
    const answered = resumed.filter(({ answer }) => answer !== "");
    const bare = attempts.filter(({ answer }, at) => at % 2 === 1 && answer !== "");
    const labels = { direction: "inbound", reason: "resumed-session" };
    const refusals = await readMetric(adminAddress, "troth_proxy_refused_connections_total", labels);
    const figure =
      `${offered} sessions offered, ${attempts.length} attempts with them: ${resumed.length} resumed, ${answered.length} of those answered, ` +
      `${refusals} refused as resumed-session; the same client did resume with Node's default server`;
    const isSafe = answered.length === 0 && bare.length === 0 && refusals >= resumed.length;
    return isSafe ? ok(figure) : failed(`${figure}; ${bare.length} answered without a certificate`);
  },
};

/** Whether the client resumes where it can, so that the attempts above are attempts. */
async function doesClientResume(credentials: Credentials): Promise<boolean> {
  const server = tls.createServer({ ...credentials, requestCert: true, rejectUnauthorized: false });
  server.on("secureConnection", (socket) => {
    socket.on("error", () => socket.destroy());
    socket.once("data", () => socket.end("resumable"));
  });
  await new Promise<void>((resolve) => server.listen({ host: "127.0.0.1", port: 0 }, resolve));
  try {
    const bound = server.address();
    const address = `127.0.0.1:${typeof bound === "object" ? (bound?.port ?? 0) : 0}`;
    const first = await askOverTls({ address, credentials, request: "hello" });
    const [session] = first.sessions;
    if (session === undefined) return false;
    return (await askOverTls({ address, credentials, request: "hello", session })).isResumed;
  } finally {
    server.close();
  }
}
