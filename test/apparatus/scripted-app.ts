import { createServer, type Socket } from "node:net";
import { setTimeout as sleep } from "node:timers/promises";
import type { PlainApp } from "./plain-app.ts";

/** What the application does next: sends bytes in Latin-1, waits, or ends the connection. */
export type Step = string | { readonly waitMillis: number } | { readonly ends: "in-order" | "with-a-reset" };

/** Ends the application's side as it should. */
export const theEnd: Step = { ends: "in-order" };

/** Breaks the connection. */
export const theReset: Step = { ends: "with-a-reset" };

/** What a request that has no script is answered with. */
export const unscripted = "unscripted\n";

/** An application that answers a request as a script says, whatever HTTP has to say about it. */
export interface ScriptedApp extends PlainApp {
  /** By target. */
  readonly scripts: Map<string, readonly Step[]>;
  /** How often each target was asked for. */
  readonly asked: Map<string, number>;
}

/** Opens it on loopback. */
export async function openScriptedApp(): Promise<ScriptedApp> {
  const scripts = new Map<string, readonly Step[]>();
  const asked = new Map<string, number>();
  const sockets = new Set<Socket>();
  let bytes = 0;
  const server = createServer((socket) => {
    sockets.add(socket);
    socket.setNoDelay(true);
    let text = "";
    // Of a body that is still to come.
    let bytesLeft = 0;
    socket.on("data", (chunk: Buffer) => {
      bytes += chunk.length;
      text += chunk.toString("latin1");
      for (;;) {
        const skipped = Math.min(bytesLeft, text.length);
        bytesLeft -= skipped;
        text = text.slice(skipped);
        const head = headOf(text);
        if (head === undefined) return;
        text = text.slice(head.end);
        bytesLeft = head.bodyBytes;
        asked.set(head.target, (asked.get(head.target) ?? 0) + 1);
        void play(socket, scripts.get(head.target) ?? plainScript);
      }
    });
    socket.on("error", () => {});
    socket.on("close", () => sockets.delete(socket));
  });
  await new Promise<void>((resolve) => server.listen({ host: "127.0.0.1", port: 0 }, () => resolve()));
  const address = server.address();
  const kill = (): Promise<void> =>
    new Promise((resolve) => {
      server.close(() => resolve());
      for (const socket of sockets) socket.destroy();
    });
  return {
    port: typeof address === "object" && address !== null ? address.port : 0,
    scripts,
    asked,
    seen: [],
    bytes: () => bytes,
    kill,
    [Symbol.asyncDispose]: kill,
  };
}

const plainScript = [
  `HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Length: ${unscripted.length}\r\n\r\n${unscripted}`,
] as const;

interface Head {
  readonly target: string;
  readonly end: number;
  readonly bodyBytes: number;
}

/** The head at the begin of the text; it is answered without waiting for its body. */
function headOf(text: string): Head | undefined {
  const match = /^[A-Z]+ (\S+) HTTP\/1\.1\r\n[\s\S]*?\r\n\r\n/.exec(text);
  if (match === null) return undefined;
  const [head, target = ""] = match;
  return { target, end: head.length, bodyBytes: Number(/\ncontent-length: ([0-9]+)/i.exec(head)?.[1] ?? 0) };
}

async function play(socket: Socket, steps: readonly Step[]): Promise<void> {
  for (const step of steps) {
    if (socket.destroyed) return;
    if (typeof step === "string") socket.write(Buffer.from(step, "latin1"));
    else if ("waitMillis" in step) await sleep(step.waitMillis);
    else if (step.ends === "in-order") socket.end();
    else socket.resetAndDestroy();
  }
}
