import { openJsonServer, type Routes } from "./json-server.ts";
import type { ServiceEnvironment } from "./service-environment.ts";

const graceMillis = 1_000;

/**
 * Serves the routes until SIGTERM, SIGINT or the end of the parent's IPC channel; then requests under way get a second
 * to finish, `resources` are closed and the process ends by itself. A parent with a channel is told `{ port }`.
 */
export async function runService(
  { service, port }: ServiceEnvironment,
  routes: Routes,
  ...resources: readonly Disposable[]
): Promise<void> {
  if (port === undefined) throw new RangeError("PORT must say where to listen on 127.0.0.1");
  const server = await openJsonServer({ service, port, routes });
  let isStopping = false;
  const stop = async (): Promise<void> => {
    // Ctrl-C in a terminal reaches us twice: from the terminal and from our parent.
    if (isStopping) return;
    isStopping = true;
    await server.close(graceMillis);
    for (const resource of resources) resource[Symbol.dispose]();
    // An IPC channel that somebody listens to keeps a process alive.
    process.off("disconnect", onStop);
  };
  const onStop = (): void => void stop();
  process.on("SIGTERM", onStop);
  process.on("SIGINT", onStop);
  process.on("disconnect", onStop);
  const hasLostParent = process.send !== undefined && !process.connected;
  if (hasLostParent) await stop();
  else process.send?.({ port: server.port }, undefined, undefined, () => {});
}
