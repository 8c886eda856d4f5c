import http from "node:http";
import http2 from "node:http2";

/** What a client speaks. */
export const clientKinds = ["GET", "POST", "HTTP/2 GET", "gRPC call", "gRPC stream"] as const;

/** One of them. */
export type ClientKind = (typeof clientKinds)[number];

/** What a client saw. */
export interface ClientOutcome {
  /**
   * `answered` in whole with a status of 2xx, or gRPC's 0; `refused` with a reason; `cut` where a part of the response
   * had come; `broken` where nothing had, and the connection ended; `unanswered` when the client's patience ended.
   */
  readonly kind: "answered" | "refused" | "cut" | "broken" | "unanswered";
  /** Status and reason, or how it ended. */
  readonly detail: string;
  readonly millis: number;
}

const posted = Buffer.alloc(2 * 1024 * 1024, "p");
/** Of the whole answer of the application, in bytes. */
const wholeBytes = 1024;

/** Asks once, as one kind of client does, and waits for at most `patienceMillis`. */
export async function askOnce(
  kind: ClientKind,
  target: { readonly address: string; readonly host: string; readonly path: string },
  patienceMillis: number,
): Promise<ClientOutcome> {
  const started = performance.now();
  const isHttp1 = kind === "GET" || kind === "POST";
  const seen = await (isHttp1 ? askHttp1 : askHttp2)(kind, target, patienceMillis);
  return { ...seen, millis: performance.now() - started };
}

type Seen = Omit<ClientOutcome, "millis">;
type Ask = (
  kind: ClientKind,
  target: { readonly address: string; readonly host: string; readonly path: string },
  patienceMillis: number,
) => Promise<Seen>;

const askHttp1: Ask = (kind, { address, host, path }, patienceMillis) => {
  const [hostname, port] = address.split(":");
  const method = kind === "POST" ? "POST" : "GET";
  return new Promise((resolve) => {
    const request = http.request({ hostname, port, path, method, headers: { host }, agent: false });
    const timer = setTimeout(() => {
      resolve({ kind: "unanswered", detail: "nothing" });
      request.destroy();
    }, patienceMillis);
    let hasBegun = false;
    const over = (detail: string): void => resolve({ kind: hasBegun ? "cut" : "broken", detail });
    request.on("error", (error) => over("code" in error ? String(error.code) : error.message));
    request.on("close", () => {
      clearTimeout(timer);
      over("closed");
    });
    request.on("response", (response) => {
      hasBegun = true;
      const body: Buffer[] = [];
      response.on("data", (chunk: Buffer) => body.push(chunk));
      response.on("error", () => over("aborted"));
      response.on("end", () => resolve(judged(response.statusCode ?? 0, Buffer.concat(body))));
    });
    request.end(method === "POST" ? posted : undefined);
  });
};

const askHttp2: Ask = (kind, { address, host, path }, patienceMillis) => {
  const isGrpc = kind !== "HTTP/2 GET";
  const session = http2.connect(`http://${address}`);
  return new Promise((resolve) => {
    const stream = session.request(
      {
        ":method": isGrpc ? "POST" : "GET",
        ":path": isGrpc ? `/hard.Service${path}` : path,
        ":authority": host,
        ...(isGrpc ? { "content-type": "application/grpc", te: "trailers" } : {}),
      },
      { endStream: !isGrpc },
    );
    const timer = setTimeout(() => {
      resolve({ kind: "unanswered", detail: "nothing" });
      session.destroy();
    }, patienceMillis);
    let status = 0;
    let hasEnded = false;
    let fields: http2.IncomingHttpHeaders = {};
    const body: Buffer[] = [];
    const note = (headers: http2.IncomingHttpHeaders): void => {
      fields = { ...fields, ...headers };
    };
    session.on("error", () => {});
    stream.on("error", () => {});
    stream.on("response", (headers) => {
      status = Number(headers[":status"]);
      note(headers);
    });
    stream.on("trailers", note);
    stream.on("data", (chunk: Buffer) => body.push(chunk));
    stream.on("end", () => {
      hasEnded = stream.rstCode === 0;
    });
    stream.on("close", () => {
      clearTimeout(timer);
      session.destroy();
      const bytes = Buffer.concat(body);
      const outcome = fields["grpc-status"];
      if (isGrpc && outcome === "0") resolve({ kind: "answered", detail: "0" });
      else if (isGrpc && outcome !== undefined)
        resolve({ kind: "refused", detail: `${String(outcome)} ${String(fields["grpc-message"] ?? "")}` });
      else if (!isGrpc && hasEnded && status > 0) resolve(judged(status, bytes));
      else resolve({ kind: status === 0 ? "broken" : "cut", detail: `code ${stream.rstCode}` });
    });
    if (!isGrpc) return;
    stream.write(Buffer.alloc(5));
    // The client of a stream has more to say.
    if (kind === "gRPC call") stream.end();
  });
};

/** A response that seems to be whole. */
function judged(status: number, body: Buffer): Seen {
  const reason = /"reason":"([a-z0-9-]+)"/.exec(body.toString("latin1"))?.[1];
  if (status >= 200 && status < 300)
    return body.length === wholeBytes
      ? { kind: "answered", detail: String(status) }
      : { kind: "unanswered", detail: `${body.length} bytes that look whole` };
  return reason === undefined
    ? { kind: "unanswered", detail: `${status} without a reason` }
    : { kind: "refused", detail: `${status} ${reason}` };
}
