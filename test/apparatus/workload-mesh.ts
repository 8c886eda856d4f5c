import { Code, ConnectError } from "@connectrpc/connect";
import { type FoundingOptions, MeshInProcess } from "./mesh-in-process.ts";
import { connectWorkload, type WorkloadClient } from "./workload-client.ts";

/** The selector that this process has in any case. */
export const ownSelector = `unix:uid:${process.getuid?.()}`;

/** A mesh with the service /shop/payments, whose agent serves workloads on loopback. */
export async function foundWorkloadMesh(options: FoundingOptions = {}): Promise<MeshInProcess> {
  const endpoints = [{ kind: "tcp" as const, host: "127.0.0.1", port: 0 }];
  const mesh = await MeshInProcess.found({ workloads: { endpoints, idleMillis: 100 }, ...options });
  await mesh.putService("/shop/payments");
  return mesh;
}

/** The first address at which a mesh's agent serves workloads. */
export function workloadAddress(mesh: MeshInProcess): string {
  return mesh.agent.workloadAddresses[0] ?? "";
}

/** A client of {@link workloadAddress}. */
export function connectTo(mesh: MeshInProcess): WorkloadClient {
  return connectWorkload(workloadAddress(mesh));
}

/** Lets whoever has {@link ownSelector} be /shop/payments, unless it says otherwise. */
export function putWorkload(
  mesh: MeshInProcess,
  name: string,
  more: { readonly service?: string; readonly selectors?: string[]; readonly hint?: string } = {},
): Promise<void> {
  const body = { name, service: "/shop/payments", selectors: [ownSelector], hint: "", ...more };
  return mesh.put("workload.put", body);
}

/** Reads a stream one message at a time. */
export function reader<Message>(messages: AsyncIterable<Message>): () => Promise<Message> {
  const iterator = messages[Symbol.asyncIterator]();
  return async () => {
    const next = await iterator.next();
    if (next.done === true) throw new Error("the stream has ended");
    return next.value;
  };
}

/** The code and text with which a call was refused. */
export async function refusalOf(call: Promise<unknown>): Promise<string> {
  const error = await call.then(
    () => undefined,
    (cause: unknown) => ConnectError.from(cause),
  );
  return error === undefined ? "no refusal" : `${Code[error.code]}: ${error.rawMessage}`;
}
