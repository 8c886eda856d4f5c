import http from "node:http";
import http2 from "node:http2";
import { hostAndPort } from "../../src/node-agent/index.ts";

/** What came back to a browser. */
export interface BrowserAnswer {
  readonly status: number;
  readonly headers: http.IncomingHttpHeaders;
  readonly body: string;
}

/** What a browser sends. */
export interface BrowserRequest {
  readonly method?: string;
  readonly path: string;
  readonly headers: Readonly<Record<string, string>>;
  readonly body?: string;
}

/** A request over plain HTTP/1.1, with exactly these headers. */
export function plainRequest(
  address: string,
  { method = "GET", path, headers, body = "" }: BrowserRequest,
): Promise<BrowserAnswer> {
  return new Promise((resolve, reject) => {
    const request = http.request(
      { ...hostAndPort(address), path, method, headers, agent: false },
      (response) => {
        let text = "";
        response.setEncoding("utf8");
        response.on("data", (chunk: string) => (text += chunk));
        response.on("error", reject);
        response.on("end", () =>
          resolve({ status: response.statusCode ?? 0, headers: response.headers, body: text }),
        );
      },
    );
    request.on("error", reject);
    request.end(body);
  });
}

/** The status of a request over HTTPS and HTTP/2, as browsers send it, under an authority of one's choice. */
export function secureRequest(
  address: string,
  { method = "GET", path, headers, body = "" }: BrowserRequest,
): Promise<number> {
  return new Promise((resolve, reject) => {
    const session = http2.connect(`https://${address}`, { rejectUnauthorized: false });
    session.once("error", reject);
    const endStream = body === "";
    const stream = session.request({ ":method": method, ":path": path, ...headers }, { endStream });
    stream.once("response", (answer) => {
      resolve(answer[":status"] ?? 0);
      session.destroy();
    });
    stream.once("error", reject);
    if (!endStream) stream.end(body);
  });
}
