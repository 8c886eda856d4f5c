import http from "node:http";

/** What came of a request; status 0 when there was no answer, with the reason as the body. */
export interface HttpAnswer {
  readonly status: number;
  readonly body: string;
}

/** A request over plain HTTP on loopback. Never throws. */
export function httpCall(request: {
  /** host:port. */
  readonly address: string;
  readonly path: string;
  /** The Host header, when it is not the address: how an application names a service of the mesh. */
  readonly host?: string;
  readonly method?: string;
  readonly headers?: Readonly<Record<string, string>>;
  readonly body?: string | Buffer;
  readonly timeoutMillis?: number;
  readonly agent?: http.Agent;
}): Promise<HttpAnswer> {
  const { address, path, host = address, method = "GET", body, timeoutMillis = 5_000 } = request;
  const [hostname = "", port = ""] = address.split(":");
  const headers = {
    ...request.headers,
    host,
    ...(body === undefined ? {} : { "content-type": "application/json", "content-length": body.length }),
  };
  return new Promise((resolve) => {
    const options = { hostname, port, path, method, headers, agent: request.agent ?? false };
    const sent = http.request(options, (response) => {
      let text = "";
      response.setEncoding("utf8");
      response.on("data", (chunk: string) => {
        text += chunk;
      });
      response.on("end", () => settle({ status: response.statusCode ?? 0, body: text }));
      response.on("error", (error) => settle({ status: 0, body: error.message }));
      response.on("aborted", () => settle({ status: 0, body: "aborted" }));
    });
    const timer = setTimeout(() => {
      settle({ status: 0, body: `no answer within ${timeoutMillis} ms` });
      sent.destroy();
    }, timeoutMillis);
    const settle = (answer: HttpAnswer): void => {
      clearTimeout(timer);
      resolve(answer);
    };
    sent.on("error", (error) => settle({ status: 0, body: error.message }));
    sent.end(body);
  });
}

/** The value of one metric of a sidecar; 0 where it has not been counted yet. Throws when there are no metrics. */
export async function readMetric(
  adminAddress: string,
  name: string,
  labels: Readonly<Record<string, string>> = {},
): Promise<number> {
  const { status, body } = await httpCall({ address: adminAddress, path: "/metrics" });
  if (status !== 200) throw new Error(`no metrics at ${adminAddress}: ${status} ${body.slice(0, 200)}`);
  const wanted = Object.entries(labels).map(([label, value]) => `${label}="${value}"`);
  const line = body
    .split("\n")
    .find((text) => /^[a-z_]+/.exec(text)?.[0] === name && wanted.every((label) => text.includes(label)));
  return Number(line?.split(" ").at(-1) ?? 0);
}
