import { writeFileSync } from "node:fs";
import { join } from "node:path";
import { freePort } from "../../../src/cli/free-port.ts";
import { openCommandedApp } from "../../apparatus/commanded-app.ts";
import { openPlainApp } from "../../apparatus/plain-app.ts";
import { openMesh, openService, troth } from "../../apparatus/running-mesh.ts";
import { type Claim, failed, ok, skipped } from "../claim.ts";

const user = 65_534;
const secret = "a-secret-of-the-operator";

/** What a sidecar has, its application need not be able to take. */
export const claim: Claim = {
  text: "an application that is isolated reads no file of its sidecar, has no descriptor of it, and reaches nothing but what its sidecar calls for it",
  run: async () => {
    if (process.platform !== "linux") return skipped("network namespaces take Linux");
    if (process.geteuid?.() !== 0)
      return skipped("running a program as another user takes root: run as root");
    await using stack = new AsyncDisposableStack();
    const answering = async (): Promise<number> =>
      stack.use(await openPlainApp({ answer: (_request, response) => void response.end("ok\n") })).port;
    const [upstream, neighbour] = [await answering(), await answering()];
    const mesh = stack.use(await openMesh({ kind: "up" }));
    stack.use(await openService(mesh, "/proof/callee", { command: ["sleep", "600"], port: upstream }));
    const app = stack.use(openCommandedApp());
    const port = await freePort();
    const args = ["--outbound-clients", "own", "--isolate", `uid:${user},netns`];
    const { command } = app;
    const env = { SSH_AUTH_SOCK: secret, TROTH_SECRET: secret };
    const caller = stack.use(await openService(mesh, "/proof/caller", { command, port, args, env }));
    const allowed = await troth(mesh.path, "allow", "/proof/caller", "/proof/callee");
    if (allowed.code !== 0) return failed(`troth allow: ${allowed.stderr}`);
    const readable = join(mesh.path, "for-this-test");
    writeFileSync(readable, secret, { mode: 0o644 });
    const inside = (...words: readonly string[]): Promise<string> => app.run(port, words);

    const uid = await inside("id", "-u");
    if (uid !== String(user)) return failed(`it runs as user ${uid}`);
    const files: Record<string, readonly string[]> = {
      "a file of mode 644 in the mesh's directory": [readable],
      "the directory itself": [mesh.path],
      "the agent's socket": [mesh.directory.agentSocket],
    };
    for (const [what, [path = ""]] of Object.entries(files)) {
      const said = await inside("ls", "-l", path);
      if (!said.includes("Permission denied")) return failed(`it sees ${what}: ${said}`);
    }
    const environment = await inside("cat", "/proc/self/environ");
    if (environment.includes(secret)) return failed("it has a secret of the environment");
    // The tool that lists them has one of its own.
    const descriptors = (await inside("ls", "/proc/self/fd")).split("\n");
    if (descriptors.length > 4) return failed(`it has descriptors ${descriptors.join(" ")}`);

    const direct: Record<string, string> = {
      "a neighbour's port": `127.0.0.1:${neighbour}`,
      "the callee's own port": `127.0.0.1:${upstream}`,
      "the control plane": mesh.domain.address,
      "another machine": "192.0.2.1:80",
    };
    for (const [what, address] of Object.entries(direct)) {
      const said = await inside(...app.ask("tcp", address));
      if (said !== "ECONNREFUSED" && said !== "ENETUNREACH") return failed(`it reaches ${what}: ${said}`);
    }
    const called = await inside(...app.ask("http", caller.outboundAddress, "callee.proof.mesh"));
    if (called !== "200") return failed(`through its sidecar: ${called}`);
    return ok(
      `user ${uid}: ${Object.keys(files).length} of the mesh's files closed, ${descriptors.length - 1} descriptors, ${Object.keys(direct).length} addresses unreachable, 200 through the sidecar`,
    );
  },
};
