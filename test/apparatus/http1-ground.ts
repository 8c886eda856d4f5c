import { logPapers, makePapers, metadataExtension, type Papers } from "./hostile-peer.ts";
import { MeshInProcess, until } from "./mesh-in-process.ts";
import type { PlainApp } from "./plain-app.ts";
import type { RawPlace } from "./raw-http1.ts";
import { openRecordingApp, type RecordingApp } from "./recording-app.ts";
import type { Workload } from "./workload.ts";

/** Which side of a sidecar raw bytes are sent to. */
export type Edge = "outbound" | "inbound";

const callerService = "/shop/caller";

/**
 * A mesh with a caller and an application that keeps what reaches it, each behind its sidecar. Bytes go in as the
 * caller's application sends them (`outbound`), or as a hostile sidecar of the caller's would (`inbound`).
 */
export class Http1Ground implements AsyncDisposable {
  readonly app: RecordingApp;
  readonly caller: Workload;
  readonly mesh: MeshInProcess;
  /** The SPIFFE ID that the application is told of. */
  readonly callerId: string;
  readonly #papers: Papers;
  readonly #callee: Workload;

  private constructor(parts: {
    mesh: MeshInProcess;
    app: RecordingApp;
    caller: Workload;
    callee: Workload;
    papers: Papers;
  }) {
    this.mesh = parts.mesh;
    this.app = parts.app;
    this.caller = parts.caller;
    this.callerId = `spiffe://${parts.mesh.trustDomain}${callerService}`;
    this.#callee = parts.callee;
    this.#papers = parts.papers;
  }

  /** Opens it; `others` are applications behind sidecars of their own that the caller may call, too. */
  static async open(others: Readonly<Record<string, PlainApp>> = {}): Promise<Http1Ground> {
    await using stack = new AsyncDisposableStack();
    const mesh = stack.use(await MeshInProcess.found());
    const app = await openRecordingApp();
    const [caller, callee] = await Promise.all([mesh.open(callerService), mesh.open("/shop/app", { app })]);
    await mesh.putRule(callerService, "/shop/app");
    for (const [service, other] of Object.entries(others)) {
      await mesh.open(service, { app: other });
      await mesh.putRule(callerService, service);
    }
    const papers = makePapers(mesh.intermediate, [`spiffe://${mesh.trustDomain}${callerService}`], {
      extensions: (usual) => [...usual, metadataExtension(caller.instance, callerService)],
    });
    await logPapers(mesh, papers, { instance: caller.instance, service: callerService });
    await mesh.settled();
    // The application is there for callers a moment after its sidecar is.
    for (const service of ["/shop/app", ...Object.keys(others)]) {
      const host = `${service.slice(1).split("/").reverse().join(".")}.mesh`;
      await until(async () => (await caller.call(host)).status === 200, host);
    }
    await app.forget();
    stack.move();
    return new Http1Ground({ mesh, app, caller, callee, papers });
  }

  /** Where to send bytes. */
  at(edge: Edge): RawPlace {
    return edge === "outbound"
      ? { address: this.caller.sidecar.outboundAddress }
      : { address: this.#callee.sidecar.inboundAddress, papers: this.#papers };
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.mesh[Symbol.asyncDispose]();
  }
}
