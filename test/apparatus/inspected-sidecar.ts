import { z } from "zod";
import { freePort } from "../../src/cli/free-port.ts";
import { OperatorClient } from "../../src/cli/operator-client.ts";
import { sidecarEnvironment, sidecarFlags } from "../../src/cli/sidecar-runtime.ts";
import type { RunningCommand } from "./running-command.ts";
import { type RunningMesh, servingInstance, startTroth, troth } from "./running-mesh.ts";
import { residentBytesOf } from "./sidecar-fleet.ts";

const inspectorMillisMax = 30_000;
const pollMillis = 50;

/** What a sidecar holds after its garbage was collected. */
export interface SidecarHoldings {
  /** Objects and buffers, in bytes. */
  readonly heapBytes: number;
  readonly residentBytes: number;
  /** Open files and sockets. */
  readonly descriptors: number;
  /** TCP connections and timers of the event loop. */
  readonly sockets: number;
  readonly timers: number;
}

/** A sidecar of its own, as `troth run` starts one, that tells what it holds. */
export interface InspectedSidecar extends AsyncDisposable {
  readonly service: string;
  readonly pid: number;
  /** host:port for the requests of its application. */
  readonly outboundAddress: string;
  /** Where other sidecars reach it. */
  readonly inboundAddress: string;
  /** Collects its garbage and looks. */
  readonly holdings: () => Promise<SidecarHoldings>;
}

/** Registers services and lets the first call the others. */
export async function registerServices(
  mesh: RunningMesh,
  caller: string,
  ...callees: string[]
): Promise<void> {
  using client = await OperatorClient.open(mesh.directory);
  await client.append([caller, ...callees].map(registrationOf));
  for (const callee of callees) {
    const allowed = await troth(mesh.path, "allow", caller, callee);
    if (allowed.code !== 0) throw new Error(`troth allow: ${allowed.stderr}`);
  }
}

/** Starts a sidecar of a registered service in front of an application that listens already. */
export async function openInspectedSidecar(
  mesh: RunningMesh,
  service: string,
  appPort: number,
): Promise<InspectedSidecar> {
  await using stack = new AsyncDisposableStack();
  const outboundPort = await freePort();
  const ports = ["--app-port", String(appPort), "--outbound-port", String(outboundPort)];
  const flags = [...sidecarFlags, "--inspect=127.0.0.1:0"];
  const command = stack.use(
    startTroth(mesh.path, ["sidecar", "--service", service, ...ports], sidecarEnvironment(), flags),
  );
  stack.defer(() => {
    command.kill("SIGKILL");
  });
  const { address } = await servingInstance(mesh.path, service);
  const inspector = stack.use(await Inspector.open(await inspectorAddress(command)));
  const opened = stack.move();
  return {
    service,
    pid: command.pid,
    outboundAddress: `127.0.0.1:${outboundPort}`,
    inboundAddress: address,
    holdings: () => inspector.holdings(command.pid),
    [Symbol.asyncDispose]: () => opened.disposeAsync(),
  };
}

/** The entry that registers a service. */
export function registrationOf(name: string): Parameters<OperatorClient["append"]>[0][number] {
  const body = { name, nodes: ["*"], dataClass: "internal", team: "", environment: "", labels: {} };
  return { kind: "service.put", body };
}

async function inspectorAddress(command: RunningCommand): Promise<string> {
  const endMillis = performance.now() + inspectorMillisMax;
  for (;;) {
    const address = /Debugger listening on (ws:\S+)/.exec(command.stderr)?.[1];
    if (address !== undefined) return address;
    if (performance.now() > endMillis) throw new Error(`no inspector: ${command.tail()}`);
    await new Promise((resolve) => setTimeout(resolve, pollMillis));
  }
}

const answerSchema = z.looseObject({
  id: z.number(),
  result: z.looseObject({ result: z.looseObject({ value: z.string() }).optional() }).optional(),
});
const seenSchema = z.object({
  heapBytes: z.number(),
  descriptors: z.number(),
  sockets: z.number(),
  timers: z.number(),
});

/** Evaluated in the sidecar. */
const look = `(() => {
  const { heapUsed, external, arrayBuffers } = process.memoryUsage();
  const resources = process.getActiveResourcesInfo();
  const count = (name) => resources.filter((one) => one === name).length;
  return JSON.stringify({
    heapBytes: heapUsed + external + arrayBuffers,
    descriptors: process.getBuiltinModule("node:fs").readdirSync("/proc/self/fd").length,
    sockets: count("TCPSocketWrap"),
    timers: count("Timeout") + count("Immediate"),
  });
})()`;

/** Node's inspector of one process. */
class Inspector implements Disposable {
  readonly #socket: WebSocket;
  readonly #waiting = new Map<number, (value: string) => void>();
  #calls = 0;

  private constructor(socket: WebSocket) {
    this.#socket = socket;
    socket.addEventListener("message", ({ data }) => {
      const answer = answerSchema.safeParse(JSON.parse(String(data)));
      if (!answer.success) return;
      this.#waiting.get(answer.data.id)?.(answer.data.result?.result?.value ?? "");
      this.#waiting.delete(answer.data.id);
    });
  }

  static async open(address: string): Promise<Inspector> {
    const socket = new WebSocket(address);
    await new Promise<void>((resolve, reject) => {
      socket.addEventListener("open", () => resolve());
      socket.addEventListener("error", () => reject(new Error(`no inspector at ${address}`)));
    });
    return new Inspector(socket);
  }

  async holdings(pid: number): Promise<SidecarHoldings> {
    // Twice: what the first collection finalises is free for the second.
    await this.#call("HeapProfiler.collectGarbage");
    await this.#call("HeapProfiler.collectGarbage");
    const text = await this.#call("Runtime.evaluate", { expression: look, returnByValue: true });
    return { ...seenSchema.parse(JSON.parse(text)), residentBytes: residentBytesOf(pid) };
  }

  [Symbol.dispose](): void {
    this.#socket.close();
  }

  #call(method: string, params: object = {}): Promise<string> {
    this.#calls += 1;
    const id = this.#calls;
    return new Promise((resolve, reject) => {
      const timer = setTimeout(() => reject(new Error(`${method} was not answered`)), inspectorMillisMax);
      this.#waiting.set(id, (value) => {
        clearTimeout(timer);
        resolve(value);
      });
      this.#socket.send(JSON.stringify({ id, method, params }));
    });
  }
}
