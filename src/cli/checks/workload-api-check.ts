import { once } from "node:events";
import http2 from "node:http2";
import net from "node:net";
import { Code } from "@connectrpc/connect";
import { codeOf, messageOf } from "../../base/mesh-error.ts";
import { SpiffeWorkloadAPI } from "../../protocol/index.ts";
import { writerOf } from "../../storage/index.ts";
import type { MeshDirectory } from "../mesh-directory.ts";
import type { CheckReport, Finding } from "./check-report.ts";

const answerMillisMax = 2_000;
/** Of a message without compression and without bytes (gRPC over HTTP/2, "Length-Prefixed-Message"). */
const emptyMessage = Buffer.alloc(5);

/** Whether programs without a sidecar find the agent of this machine; it must be connected. */
export async function checkWorkloadApi(report: CheckReport, directory: MeshDirectory): Promise<void> {
  const pid = await writerOf(directory.agent);
  if (pid === undefined) return;
  await report.run(
    {
      category: "nodes",
      anchor: "workload-api",
      description: "the agent here answers programs without a sidecar",
    },
    () => workloadApiFinding(directory.workloadSocket, pid),
  );
}

/** What is wrong with the SPIFFE Workload API at a socket that process `pid` serves. */
export async function workloadApiFinding(socketPath: string, pid: number): Promise<Finding | undefined> {
  const error = await problemAt(socketPath);
  if (error === undefined) return undefined;
  return {
    error: `${socketPath}: ${error}; programs that obtain their identity over the SPIFFE Workload API or SDS get none`,
    remedy: `the agent makes the socket when it starts. End process ${pid}, its agent; "troth up" starts it again, elsewhere troth node-agent does. Sidecars go on meanwhile`,
    command: `kill -9 ${pid}`,
  };
}

/** Makes a call that has to be refused, so that nothing is issued; undefined where it is, in the standard's way. */
async function problemAt(socketPath: string): Promise<string | undefined> {
  const socket = net.connect(socketPath);
  try {
    await once(socket, "connect");
    const status = await statusFrom(http2.connect("http://localhost", { createConnection: () => socket }));
    return status === String(Code.InvalidArgument) ? undefined : "something else than an agent answers there";
  } catch (error) {
    if (codeOf(error) === "ENOENT") return "the socket is not there";
    return codeOf(error) === "ECONNREFUSED" ? "nobody listens there" : messageOf(error);
  } finally {
    socket.destroy();
  }
}

/** The gRPC status of a call without the header that every call takes; rejects where none comes. */
function statusFrom(session: http2.ClientHttp2Session): Promise<string> {
  return new Promise((resolve, reject) => {
    // Stays on, so that an error after the answer does not end the process.
    session.on("error", reject);
    const call = session.request({
      ":method": "POST",
      ":path": `/${SpiffeWorkloadAPI.typeName}/${SpiffeWorkloadAPI.method.validateJWTSVID.name}`,
      "content-type": "application/grpc",
      te: "trailers",
    });
    const take = (headers: http2.IncomingHttpHeaders): void => {
      const status = headers["grpc-status"];
      if (typeof status === "string") resolve(status);
    };
    call.on("error", reject).on("response", take).on("trailers", take);
    call.on("close", () => reject(new Error("the connection ended without an answer")));
    call.setTimeout(answerMillisMax, () => reject(new Error(`no answer within ${answerMillisMax} ms`)));
    call.resume().end(emptyMessage);
  });
}
