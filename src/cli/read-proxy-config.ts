import { CliError, exitCode } from "./exit-codes.ts";

const timeoutMillis = 3_000;
const configBytesMax = 16 * 1024 * 1024;
const loopbackAddress = /^(127\.0\.0\.1|\[::1\]|localhost):[0-9]{1,5}$/;

/** What the proxy with this admin address says at `/config`. The address is hearsay, so only loopback is asked. */
export async function readProxyConfig(address: string): Promise<Record<string, unknown>> {
  if (!loopbackAddress.test(address))
    throw new CliError(
      exitCode.notFound,
      "this proxy has not said where its admin listener is; see: troth proxy status",
    );
  const response = await fetch(`http://${address}/config`, {
    signal: AbortSignal.timeout(timeoutMillis),
    redirect: "error",
  }).catch((cause: unknown) => {
    throw new CliError(exitCode.unreachable, `the proxy's admin listener at ${address} does not answer`, {
      cause,
    });
  });
  if (response.status === 404)
    throw new CliError(
      exitCode.notFound,
      `this proxy does not tell its configuration: nothing at http://${address}/config`,
    );
  if (!response.ok)
    throw new CliError(exitCode.failed, `http://${address}/config answered ${response.status}`);
  return parse(await boundedText(response, address), address);
}

async function boundedText(response: Response, address: string): Promise<string> {
  const chunks: Uint8Array[] = [];
  let bytes = 0;
  for await (const chunk of response.body ?? []) {
    bytes += chunk.byteLength;
    if (bytes > configBytesMax)
      throw new CliError(exitCode.unreadable, `http://${address}/config is too large`);
    chunks.push(chunk);
  }
  return Buffer.concat(chunks).toString("utf8");
}

function parse(text: string, address: string): Record<string, unknown> {
  try {
    const value: unknown = JSON.parse(text);
    if (typeof value === "object" && value !== null && !Array.isArray(value)) return { ...value };
  } catch {
    // Told below, as for JSON of another form.
  }
  throw new CliError(exitCode.unreadable, `http://${address}/config is no JSON object`);
}
