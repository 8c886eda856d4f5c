import { once } from "node:events";
import { createServer } from "node:http";

/** A container as whoever runs it has it. */
export interface RunContainer {
  /** Of its first process. */
  readonly pid: number;
  readonly image: string;
  readonly labels: Readonly<Record<string, string>>;
}

/** A container runtime that speaks the part of the Docker Engine API that agents ask, at a Unix socket. */
export interface ContainerEngine extends AsyncDisposable {
  readonly socketPath: string;
  /** Starts a container, or starts it anew. */
  readonly run: (id: string, container: RunContainer) => void;
  readonly stop: (id: string) => void;
  /** Does something after the next answer. */
  readonly afterNext: (what: () => void) => void;
  /** What every answer is, instead of what is so. */
  instead: { readonly status: number; readonly text: string } | undefined;
}

/** Serves at a path that is free. */
export async function openContainerEngine(socketPath: string): Promise<ContainerEngine> {
  const containers = new Map<string, object>();
  let starts = 0;
  let after = (): void => {};
  const engine: ContainerEngine = {
    socketPath,
    run: (id, { pid, image, labels }) => {
      starts += 1;
      const state = { Status: "running", Running: true, Pid: pid, StartedAt: `2026-01-01T00:00:0${starts}Z` };
      const config = { Image: image, Labels: labels, Env: ["PATH=/bin"] };
      containers.set(id, { Id: id, Image: `sha256:${"ab".repeat(32)}`, State: state, Config: config });
    },
    stop: (id) => {
      const state = { Status: "exited", Running: false, Pid: 0, StartedAt: "" };
      containers.set(id, { ...containers.get(id), State: state });
    },
    afterNext: (what) => {
      after = what;
    },
    instead: undefined,
    [Symbol.asyncDispose]: async () => {
      if (!server.listening) return;
      server.closeAllConnections();
      server.close();
      await once(server, "close");
    },
  };
  const server = createServer((request, response) => {
    const id = /^\/containers\/([0-9a-f]{64})\/json$/.exec(request.url ?? "")?.[1] ?? "";
    const container = containers.get(id);
    const found = container === undefined ? { message: `No such container: ${id}` } : container;
    const { status, text } = engine.instead ?? {
      status: container === undefined ? 404 : 200,
      text: JSON.stringify(found),
    };
    response.writeHead(status, { "content-type": "application/json" }).end(text);
    const what = after;
    after = () => {};
    what();
  });
  server.listen(socketPath);
  await once(server, "listening");
  return engine;
}
