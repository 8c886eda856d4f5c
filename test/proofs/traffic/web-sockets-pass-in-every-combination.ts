import { allow } from "../../apparatus/grpc-mesh.ts";
import { installPythonPeer, missingForPythonPeer, type PythonPeer } from "../../apparatus/python-peer.ts";
import { runCommand } from "../../apparatus/running-command.ts";
import { openMesh, openService, type RunningService } from "../../apparatus/running-mesh.ts";
import { temporaryFolder } from "../../contracts/temporary-folder.ts";
import { type Claim, failed, ok, skipped } from "../claim.ts";

const protocols = ["http1", "http2"] as const;
const sizes = [0, 1, 125, 126, 65_535, 65_536, 1024 * 1024];
/** The peers' own HTTP/2 takes half a minute for one of these, so that is for the long form. */
const largest = 16 * 1024 * 1024;
const checkMillisMax = 240_000;
/** Of each combination: two a size, the subprotocol, fragments, pings, and closes from either side. */
const otherChecks = 11;

export const claim: Claim = {
  text: "WebSockets pass two sidecars from clients of HTTP/1.1 and HTTP/2 to applications of either: messages of every size, in fragments, pings, and closes of either side with their codes",
  limitSeconds: 900,
  run: async ({ note, isFull }) => {
    const missing = missingForPythonPeer();
    if (missing !== undefined) return skipped(missing);
    await using folder = await temporaryFolder();
    const peer = await installPythonPeer("websocket", folder.path);
    await using mesh = await openMesh({ kind: "up" });
    await using client = await openService(mesh, "/ws/client");
    let passed = 0;
    for (const protocol of protocols) {
      const service = `/ws/${protocol}`;
      const server = { command: peer.command("echo_server.py"), protocol };
      await using _app = await openService(mesh, service, server);
      await allow(mesh, "/ws/client", service);
      for (const from of protocols) {
        note(`from ${from} to ${protocol}`);
        const isLong = isFull || (from === "http1" && protocol === "http1");
        const bytes = isLong ? [...sizes, largest] : sizes;
        const seen = await ask(peer, client, { from, to: protocol, bytes });
        if (seen.complaint !== undefined) return failed(`from ${from} to ${protocol}: ${seen.complaint}`);
        passed += seen.passed;
      }
    }
    return ok(`${passed} checks in 4 combinations, messages of up to ${largest} bytes`);
  },
};

/** Has other people's client ask for WebSockets of a service and check what they do. */
async function ask(
  peer: PythonPeer,
  { outboundAddress }: RunningService,
  { from, to, bytes }: { readonly from: string; readonly to: string; readonly bytes: readonly number[] },
): Promise<{ readonly passed: number; readonly complaint?: string }> {
  const port = outboundAddress.split(":")[1] ?? "";
  const asked = [from, port, `${to}.ws.mesh`, ...bytes.map(String)];
  const [file = "", ...args] = peer.command("echo_client.py", ...asked);
  const { code, stdout, stderr } = await runCommand(file, args, { timeoutMillis: checkMillisMax });
  const lines = stdout.trim().split("\n");
  const passed = lines.filter((line) => line.startsWith("ok ")).length;
  const wrong = lines.find((line) => !line.startsWith("ok "));
  if (wrong !== undefined) return { passed, complaint: wrong };
  return code === 0 && passed >= 2 * bytes.length + otherChecks
    ? { passed }
    : { passed, complaint: `${passed} checks, then ${code}: ${stderr.trim().slice(-300)}` };
}
