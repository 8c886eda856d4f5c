import http from "node:http";
import https from "node:https";

/** The caller's patience is the entry's: `entryWaitMillisMax` in workload-grants.ts. */
const answerTimeoutMillis = 2_000;
const headBytesMax = 16 * 1024;

/** One question to a cluster, to whoever serves its keys, or to a container runtime. */
export interface HttpQuestion {
  /** Of https, or of http on loopback or at a Unix socket. */
  readonly url: string;
  readonly socketPath?: string;
  /** Certificates of CAs (PEM): none but these count; those of the public web unless given. */
  readonly ca?: string | readonly string[];
  /** Of the answer. */
  readonly bytesMax: number;
  /** What is posted, JSON; nothing is, unless given. */
  readonly body?: string;
  /** Shown to the cluster alone: sent only under TLS to a server that `ca` bears. */
  readonly bearer?: string;
}

/** The body of the answer; throws where it is none of status 200 or 201 in time. Follows no redirection. */
export async function askHttp(question: HttpQuestion): Promise<Uint8Array> {
  const response = await send(question, AbortSignal.timeout(answerTimeoutMillis));
  try {
    const { statusCode = 0 } = response;
    if (statusCode !== 200 && statusCode !== 201) throw new Error(`status ${statusCode}`);
    const chunks: Uint8Array[] = [];
    let bytes = 0;
    for await (const chunk of response) {
      const part = Buffer.from(chunk);
      bytes += part.byteLength;
      if (bytes > question.bytesMax) throw new Error(`more than ${question.bytesMax} bytes`);
      chunks.push(part);
    }
    return Buffer.concat(chunks);
  } finally {
    response.destroy();
  }
}

function send(
  { url, socketPath, ca, body, bearer }: HttpQuestion,
  signal: AbortSignal,
): Promise<http.IncomingMessage> {
  const isTls = url.startsWith("https:");
  const options = {
    method: body === undefined ? "GET" : "POST",
    headers: {
      accept: "application/json",
      ...(body === undefined ? {} : { "content-type": "application/json" }),
      ...(bearer === undefined || !isTls ? {} : { authorization: `Bearer ${bearer}` }),
    },
    maxHeaderSize: headBytesMax,
    agent: false as const,
    signal,
    ...(socketPath === undefined ? {} : { socketPath }),
  };
  const trust = ca === undefined ? {} : { ca: [ca].flat() };
  return new Promise((resolve, reject) => {
    const request = isTls
      ? https.request(url, { ...options, ...trust, rejectUnauthorized: true, minVersion: "TLSv1.2" })
      : http.request(url, options);
    request.once("error", reject);
    request.once("response", resolve);
    request.end(body);
  });
}
