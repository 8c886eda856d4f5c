import http from "node:http";

/** A stand-in for a collector: answers every export with one status and keeps what it was sent. */
export interface OtlpCollector extends AsyncDisposable {
  /** Where traces go. */
  readonly url: string;
  /** Bodies of the requests so far, in protobuf. */
  readonly bodies: readonly Buffer[];
}

/** Opens a collector on a free port of loopback. */
export async function openCollector(status: number): Promise<OtlpCollector> {
  const bodies: Buffer[] = [];
  const server = http.createServer((request, response) => {
    const chunks: Buffer[] = [];
    request.on("data", (chunk: Buffer) => chunks.push(chunk));
    request.on("end", () => {
      bodies.push(Buffer.concat(chunks));
      response.writeHead(status, { "content-type": "application/x-protobuf" }).end();
    });
  });
  await new Promise<void>((resolve) => server.listen({ host: "127.0.0.1", port: 0 }, resolve));
  const address = server.address();
  const port = typeof address === "object" && address !== null ? address.port : 0;
  return {
    url: `http://127.0.0.1:${port}/v1/traces`,
    bodies,
    [Symbol.asyncDispose]: async () => {
      server.closeAllConnections();
      await new Promise((resolve) => server.close(resolve));
    },
  };
}
