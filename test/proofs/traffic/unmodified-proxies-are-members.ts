import { mkdir, readFile, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { freePort } from "../../../src/cli/free-port.ts";
import {
  type ForeignKind,
  type ForeignPlan,
  missingForeign,
  openForeignProxy,
} from "../../apparatus/foreign-proxy.ts";
import { RunningCommand } from "../../apparatus/running-command.ts";
import {
  apparatus,
  openMesh,
  openService,
  type RunningMesh,
  startTroth,
  troth,
} from "../../apparatus/running-mesh.ts";
import { askSteadily } from "../../apparatus/steady-requests.ts";
import { ask } from "../../apparatus/workload.ts";
import { temporaryFolder } from "../../contracts/temporary-folder.ts";
import { type Claim, failed, ok, skipped } from "../claim.ts";

const kinds: readonly ForeignKind[] = ["envoy", "haproxy"];
const svidLifetimeSeconds = 12;
const loadMillisShort = 14_000;
const loadMillisFull = 120_000;
const readyMillisMax = 30_000;
const cutMillisMax = 20_000;

export const claim: Claim = {
  text: "an unmodified Envoy and an unmodified HAProxy with exported identities call sidecars and are called by them over HTTP/2, through renewals under load without a failed request, and are cut when their instances end",
  run: async ({ isFull }) => {
    const missing = kinds.map(missingForeign).find((one) => one !== undefined);
    if (missing !== undefined) return skipped(missing);
    await using folder = await temporaryFolder();
    await using mesh = await openMesh({
      kind: "up",
      requestTokens: "off",
      args: ["--svid-lifetime", String(svidLifetimeSeconds)],
    });
    await using ledger = await openService(mesh, "/proof/ledger");
    await using web = await openService(mesh, "/proof/web");
    const appPort = await freePort();
    const [file = "", ...args] = apparatus("small-app.ts");
    await using _app = new RunningCommand(file, args, { env: { PORT: String(appPort) } });
    await using stack = new AsyncDisposableStack();
    const ways: Way[] = [];
    for (const kind of kinds) {
      const caller = stack.use(
        await openMember(mesh, join(folder.path, `${kind}-caller`), kind, {
          side: "caller",
          to: ledger.status.address,
          peerId: `spiffe://${mesh.domain.trustDomain}/proof/ledger`,
        }),
      );
      await troth(mesh.path, "allow", caller.service, "/proof/ledger");
      ways.push({
        ...caller,
        name: `${kind} as caller`,
        ask: targetOf(caller.address),
        keepsConnections: false,
      });
      const callee = stack.use(
        await openMember(mesh, join(folder.path, `${kind}-callee`), kind, {
          side: "callee",
          to: `127.0.0.1:${appPort}`,
          peerId: `spiffe://${mesh.domain.trustDomain}/proof/web`,
        }),
      );
      const host = `${kind}-callee.proof.mesh`;
      ways.push({
        ...callee,
        name: `${kind} as callee`,
        ask: { ...targetOf(web.outboundAddress), headers: { host } },
        keepsConnections: true,
      });
    }
    for (const way of ways) await untilStatus(way, (status) => status === 200);

    const loads = ways.map((way) => askSteadily(way.ask, way));
    await sleep(isFull ? loadMillisFull : loadMillisShort);
    const reports = await Promise.all(loads.map((load) => load.stop()));
    const written = await Promise.all(ways.map((way) => way.renewals()));
    const cutMillis: number[] = [];
    for (const way of ways) {
      const from = performance.now();
      way.export.kill("SIGKILL");
      await untilStatus(way, (status) => status !== 200);
      cutMillis.push(performance.now() - from);
    }
    const said = ways.map(
      ({ name }, place) =>
        `${name}: ${reports[place]?.requests} requests through ${written[place]} certificates, ${reports[place]?.failures.length} failed`,
    );
    const cut = `cut ${(Math.max(...cutMillis) / 1000).toFixed(1)} s after the end of the export at most`;
    const figure = `${said.join("; ")}; ${cut}`;
    const seen = new Set(reports.flatMap(({ failures }) => failures));
    if (seen.size > 0) return failed(`${figure}: ${[...seen].join(", ")}`);
    return written.every((certificates) => certificates >= 2) ? ok(figure) : failed(figure);
  },
};

interface Member extends AsyncDisposable {
  readonly service: string;
  readonly address: string;
  readonly export: RunningCommand;
  /** How many certificates the export has written. */
  readonly renewals: () => Promise<number>;
}

interface Way extends Pick<Member, "export" | "renewals"> {
  readonly name: string;
  readonly ask: {
    readonly host: string;
    readonly port: string;
    readonly headers?: { readonly host: string };
  };
  readonly keepsConnections: boolean;
}

async function openMember(
  mesh: RunningMesh,
  folder: string,
  kind: ForeignKind,
  plan: Omit<ForeignPlan, "credentials" | "folder">,
): Promise<Member> {
  await mkdir(folder, { recursive: true, mode: 0o700 });
  await using stack = new AsyncDisposableStack();
  const service = `/proof/${kind}-${plan.side}`;
  const port = await freePort();
  const credentials = join(folder, "svid");
  const pidFile = join(folder, "pid");
  const renewals = join(folder, "renewals");
  const exec = `echo >> ${renewals}; test ! -e ${pidFile} || kill -USR2 "$(cat ${pidFile})"`;
  const advertise = plan.side === "callee" ? ["--advertise", `127.0.0.1:${port}`] : [];
  const exported = stack.use(
    startTroth(mesh.path, [
      "identity",
      "export",
      "--service",
      service,
      "--out",
      credentials,
      "--exec",
      exec,
      ...advertise,
    ]),
  );
  await exported.untilLine(/^ready/, readyMillisMax);
  const proxy = stack.use(await openForeignProxy(kind, { ...plan, credentials, folder }, port));
  // Envoy sees by itself that there are others.
  if (kind === "haproxy") await writeFile(pidFile, String(proxy.pid));
  const opened = stack.move();
  return {
    service,
    address: proxy.address,
    export: exported,
    renewals: async () => (await readFile(renewals, "utf8")).length,
    [Symbol.asyncDispose]: () => opened.disposeAsync(),
  };
}

async function untilStatus(way: Way, isWanted: (status: number) => boolean): Promise<void> {
  const deadline = performance.now() + cutMillisMax;
  for (;;) {
    const reply = await ask({ ...way.ask, agent: false }).catch(() => undefined);
    if (isWanted(reply?.status ?? 0)) return;
    if (performance.now() > deadline)
      throw new Error(`${way.name} still answers with ${reply?.status ?? "nothing"}: ${way.export.tail()}`);
    await sleep(100);
  }
}

function targetOf(address: string): { readonly host: string; readonly port: string } {
  const [host = "", port = ""] = address.split(":");
  return { host, port };
}
