import { freePort } from "../../../src/cli/free-port.ts";
import { openCommandedApp, runBeside } from "../../apparatus/commanded-app.ts";
import { openPlainApp } from "../../apparatus/plain-app.ts";
import { openMesh, openService, statusOf, troth } from "../../apparatus/running-mesh.ts";
import { openTcpApp } from "../../apparatus/tcp-app.ts";
import { type Claim, failed, ok, skipped } from "../claim.ts";

const otherUser = 65_534;
const refusal = "403 not-own-application";

/** The identity is the application's, and so is the port at which its sidecar calls for it. */
export const claim: Claim = {
  text: "a neighbour of the same machine, of the same user or another, calls nobody through an application's sidecar; its children, and theirs, do",
  run: async () => {
    if (process.platform !== "linux") return skipped("telling who calls takes Linux");
    if (process.geteuid?.() !== 0) return skipped("another user's process takes root: run as root");
    await using stack = new AsyncDisposableStack();
    const asked: string[] = [];
    const upstream = stack.use(
      await openPlainApp({
        answer: (request, response) => {
          asked.push(request.url ?? "");
          response.end("ok\n");
        },
      }),
    );
    const echo = stack.use(await openTcpApp(({ socket }) => socket.pipe(socket)));
    const mesh = stack.use(await openMesh({ kind: "up" }));
    const idle = ["sleep", "600"];
    stack.use(await openService(mesh, "/proof/callee", { command: idle, port: upstream.port }));
    const tcpArgs = ["--app-protocol", "tcp"];
    stack.use(await openService(mesh, "/proof/echo", { command: idle, port: echo.port, args: tcpArgs }));
    const app = stack.use(openCommandedApp());
    const [appPort, tcpPort] = [await freePort(), await freePort()];
    const args = ["--outbound-clients", "own", "--tcp", `${tcpPort}=/proof/echo`];
    const { command } = app;
    const caller = stack.use(await openService(mesh, "/proof/caller", { command, port: appPort, args }));
    for (const callee of ["/proof/callee", "/proof/echo"]) {
      const allowed = await troth(mesh.path, "allow", "/proof/caller", callee);
      if (allowed.code !== 0) return failed(`troth allow: ${allowed.stderr}`);
    }
    const http = app.ask("http", caller.outboundAddress, "callee.proof.mesh");
    const tcp = app.ask("tcp", `127.0.0.1:${tcpPort}`);

    const refused: Record<string, string> = {};
    for (const uid of [undefined, otherUser]) {
      refused[`HTTP as user ${uid ?? 0}`] = await runBeside(http, uid);
      refused[`TCP as user ${uid ?? 0}`] = await runBeside(tcp, uid);
    }
    for (const [what, said] of Object.entries(refused))
      if (said !== (what.startsWith("HTTP") ? refusal : "ECONNRESET")) return failed(`${what}: ${said}`);
    const [requests, connections] = [asked.length, echo.connections().length];
    if (requests + connections > 0)
      return failed(`${requests} requests and ${connections} connections arrived upstream`);

    const shell = (words: readonly string[]): string[] => ["sh", "-c", `${words.join(" ")}; true`];
    const served = {
      "a child over HTTP": [await app.run(appPort, http), "200"],
      "a child over TCP": [await app.run(appPort, tcp), "ping"],
      "a grandchild over HTTP": [await app.run(appPort, shell(http)), "200"],
      "a grandchild over TCP": [await app.run(appPort, shell(tcp)), "ping"],
      "a daemon over HTTP": [await app.runDetached(appPort, http), "200"],
      "a daemon over TCP": [await app.runDetached(appPort, tcp), "ping"],
    };
    for (const [what, [said, wanted]] of Object.entries(served))
      if (said !== wanted) return failed(`${what}: ${said}`);

    const { alarms } = await statusOf(mesh.path);
    if (!alarms.some(({ reason }) => reason === "not-own-application"))
      return failed("troth status says nothing of it");
    return ok(
      `${Object.keys(refused).length} connections of neighbours refused with nothing upstream, and shown by troth status; ${Object.keys(served).length} of children, grandchildren and daemons served`,
    );
  },
};
