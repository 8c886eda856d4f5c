import { readFile } from "node:fs/promises";
import https from "node:https";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { temporaryFolder } from "../contracts/temporary-folder.ts";
import { type RunningMesh, startTroth } from "./running-mesh.ts";

const readyMillisMax = 30_000;
const answerMillisMax = 10_000;

/** A caller that is no proxy of Troth: it speaks HTTP/1.1 with the certificate that `troth identity export` keeps. */
export interface ExportedCaller extends AsyncDisposable {
  /** One request on a connection of its own, with the files as they are now: its status, or what went wrong. */
  readonly ask: (address: string) => Promise<string>;
  /** Its credentials as they are now, which somebody may copy. */
  readonly credentials: () => Promise<Credentials>;
}

/** Runs `troth identity export` for a service. */
export async function openExportedCaller(mesh: RunningMesh, service: string): Promise<ExportedCaller> {
  await using stack = new AsyncDisposableStack();
  const { path } = stack.use(await temporaryFolder());
  const out = join(path, "svid");
  const command = stack.use(
    startTroth(mesh.path, ["identity", "export", "--service", service, "--out", out]),
  );
  await command.untilLine(/^ready/, readyMillisMax);
  const current = join(out, "current");
  const opened = stack.move();
  const credentials = async (): Promise<Credentials> => {
    const [cert, key, ca] = await Promise.all(
      ["svid.pem", "svid.pem.key", "bundle.pem"].map((file) => readFile(join(current, file))),
    );
    return { cert, key, ca };
  };
  return {
    ask: async (address) => askWith(await credentials(), address),
    credentials,
    [Symbol.asyncDispose]: () => opened.disposeAsync(),
  };
}

/** What a caller shows and whom it trusts, PEM. */
export type Credentials = Pick<https.RequestOptions, "cert" | "key" | "ca">;

/** Asks at a steady rate until it is over; what was not a 200, in words. */
export async function askExported(
  caller: ExportedCaller,
  load: { readonly address: string; readonly requestsPerSecond: number; readonly isOver: () => boolean },
): Promise<{ readonly requests: number; readonly failures: readonly string[] }> {
  const outcomes: Promise<string>[] = [];
  while (!load.isOver()) {
    outcomes.push(caller.ask(load.address));
    await sleep(1000 / load.requestsPerSecond);
  }
  const failures = (await Promise.all(outcomes)).filter((outcome) => outcome !== "200");
  return { requests: outcomes.length, failures };
}

/** One request on a connection of its own: its status, or what went wrong. */
export function askWith(tls: Credentials, address: string): Promise<string> {
  const [host, port] = address.split(":");
  return new Promise((resolve) => {
    const request = https.get(
      // A SPIFFE ID is no host name; the chain is judged by the bundle.
      { ...tls, host, port, agent: false, timeout: answerMillisMax, checkServerIdentity: () => undefined },
      (response) => {
        response.resume();
        response.on("end", () => resolve(String(response.statusCode)));
      },
    );
    request.on("timeout", () => request.destroy(new Error("no answer in time")));
    request.on("error", ({ message }) => resolve(message));
  });
}
