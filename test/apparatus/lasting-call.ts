import http from "node:http";
import net from "node:net";

const sendMillis = 100;
/** So long without anything, and it has broken silently. */
const silenceMillisMax = 15_000;
const openMillisMax = 15_000;

/** A WebSocket or a stream that is to last. */
export interface LastingCall {
  /** How many messages have come whole. */
  readonly messages: number;
  /** Why it is over although nobody has ended it; undefined while it is not. */
  readonly broken: string | undefined;
  end(): void;
}

/** Opens a WebSocket to an application that repeats what it is sent, and sends a number on it ten times a second. */
export async function openWebSocket(address: string, host: string): Promise<LastingCall> {
  const [hostname, port] = address.split(":");
  const call = new Call();
  const socket = net.connect({ host: hostname ?? "", port: Number(port) });
  const opened = Promise.withResolvers<void>();
  let text = "";
  let hasOpened = false;
  socket.setEncoding("latin1");
  socket.on("data", (chunk) => {
    text += String(chunk);
    if (!hasOpened) {
      const end = text.indexOf("\r\n\r\n");
      if (end < 0) return;
      if (!text.startsWith("HTTP/1.1 101 ")) return opened.reject(new Error(text.slice(0, 400)));
      hasOpened = true;
      text = text.slice(end + 4);
      opened.resolve();
    }
    text = call.take(text, (number) => `${number}\n`);
  });
  socket.on("error", (error) => {
    opened.reject(error);
    call.over(error.message);
  });
  socket.on("close", () => call.over("closed"));
  socket.write(
    `GET /socket HTTP/1.1\r\nHost: ${host}\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\r\n`,
  );
  await within(opened.promise);
  let sent = 0;
  const timer = setInterval(() => {
    socket.write(`${sent}\n`);
    sent += 1;
  }, sendMillis);
  call.onEnd(() => {
    clearInterval(timer);
    socket.destroy();
  });
  return call;
}

/** Opens a stream of numbered events that its application goes on with until it is ended. */
export async function openStream(address: string, host: string): Promise<LastingCall> {
  const [hostname, port] = address.split(":");
  const call = new Call();
  const request = http.get({ hostname, port, path: "/stream", headers: { host }, agent: false });
  const response = await within(
    new Promise<http.IncomingMessage>((resolve, reject) => {
      request.once("response", resolve);
      request.on("error", (error) => {
        reject(error);
        call.over(error.message);
      });
    }),
  );
  if (response.statusCode !== 200) throw new Error(`${response.statusCode} instead of a stream`);
  let text = "";
  response.setEncoding("latin1");
  response.on("data", (chunk) => {
    text = call.take(text + String(chunk), (number) => `data: ${number}\n\n`);
  });
  response.on("error", (error) => call.over(error.message));
  response.on("close", () => call.over("closed"));
  call.onEnd(() => request.destroy());
  return call;
}

class Call implements LastingCall {
  messages = 0;
  broken: string | undefined;
  #hasEnded = false;
  #stop = (): void => {};
  #heardMillis = performance.now();
  readonly #watch = setInterval(() => {
    if (performance.now() - this.#heardMillis > silenceMillisMax) this.over("silent");
  }, 1_000).unref();

  /** Takes the messages that a text begins with, which must be the next ones; what is left of it. */
  take(text: string, message: (number: number) => string): string {
    let rest = text;
    for (;;) {
      const next = message(this.messages);
      if (rest.length < next.length) return rest;
      if (!rest.startsWith(next)) {
        this.over(`${JSON.stringify(rest.slice(0, 40))} instead of message ${this.messages}`);
        return "";
      }
      rest = rest.slice(next.length);
      this.messages += 1;
      this.#heardMillis = performance.now();
    }
  }

  over(why: string): void {
    clearInterval(this.#watch);
    if (!this.#hasEnded) this.broken ??= why;
    this.#stop();
  }

  onEnd(stop: () => void): void {
    this.#stop = stop;
  }

  end(): void {
    this.#hasEnded = true;
    clearInterval(this.#watch);
    this.#stop();
  }
}

async function within<Value>(promise: Promise<Value>): Promise<Value> {
  let timer: NodeJS.Timeout | undefined;
  const late = new Promise<never>((_, reject) => {
    timer = setTimeout(() => reject(new Error("did not open")), openMillisMax);
  });
  try {
    return await Promise.race([promise, late]);
  } finally {
    clearTimeout(timer);
  }
}
