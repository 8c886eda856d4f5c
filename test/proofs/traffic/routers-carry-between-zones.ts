import { createHash, randomBytes } from "node:crypto";
import { setTimeout as sleep } from "node:timers/promises";
import { z } from "zod";
import { verifierKeyOf } from "../../../src/trust-log/index.ts";
import { httpCall } from "../../apparatus/http-call.ts";
import { MeshInProcess, until } from "../../apparatus/mesh-in-process.ts";
import { type AskedOnce, type LoadReport, openLoopLoad } from "../../apparatus/open-loop-load.ts";
import { connectTo } from "../../apparatus/tcp-app.ts";
import {
  connectNetworks,
  missingForNamespaces,
  openBridge,
  ZoneProcess,
} from "../../apparatus/zone-namespaces.ts";
import { socketOf, type ZonePlan } from "../../apparatus/zone-process.ts";
import { putRouterService } from "../../apparatus/zone-routers.ts";
import { openByUpgrade } from "../../fuzz/web-socket-ends.ts";
import { type Claim, failed, ok, skipped } from "../claim.ts";

const caller = "/proof/caller";
const [web, chat, db, far] = ["/proof/web", "/proof/chat", "/proof/db", "/proof/far"] as const;
const bodyBytes = 64 * 1024 * 1024;
const tcpBytes = 8 * 1024 * 1024;
const requests = 100;
const requestsPerSecond = 100;
const zones = ["east", "west", "north"] as const;

/** Three networks of one machine: east has a cable to a router's machine in west and one in north, and nothing else. */
export const claim: Claim = {
  text: "between zones that do not reach each other, requests, a WebSocket, 64 MiB and TCP go through routers, and one that is killed under load loses only what may not be repeated",
  run: async () => {
    const missing = missingForNamespaces();
    if (missing !== undefined) return skipped(missing);
    await using mesh = await MeshInProcess.found();
    await using stack = new AsyncDisposableStack();
    const sockets = new Map<string, string>();
    for (const zone of zones) {
      sockets.set(zone, await mesh.joinNode(zone));
      await mesh.put("node.zone", { node: zone, zone });
    }
    for (const service of [caller, web, chat, db, far]) await mesh.putService(service);
    await mesh.putTcp(db);
    for (const to of [web, chat, db, far]) await mesh.putRule(caller, to);
    for (const router of ["/mesh/west", "/mesh/north"]) await putRouterService(mesh, router);
    const plan = (zone: string, parts: Partial<ZonePlan>): ZonePlan => ({
      genesis: mesh.genesis,
      logKey: verifierKeyOf(mesh.keys.log),
      trustDomain: mesh.trustDomain,
      agentSocketPath: sockets.get(zone) ?? "",
      folder: mesh.folder,
      sidecars: [],
      routers: [],
      ...parts,
    });
    const http = (service: string, tcp: string[] = []): ZonePlan["sidecars"][number] => ({
      service,
      speaks: "http",
      tcp,
    });
    const east = stack.use(new ZoneProcess(plan("east", { sidecars: [http(caller, [db])] })));
    const west = stack.use(
      new ZoneProcess(
        plan("west", { sidecars: [http(web), http(chat), { service: db, speaks: "tcp", tcp: [] }] }),
      ),
    );
    const north = stack.use(new ZoneProcess(plan("north", { sidecars: [http(far)] })));
    await sleep(300);
    connectNetworks(
      { process: east, address: "10.77.1.1" },
      { process: west, address: "10.77.1.2" },
      "troth-ew",
    );
    connectNetworks(
      { process: east, address: "10.77.2.1" },
      { process: north, address: "10.77.2.2" },
      "troth-en",
    );
    await Promise.all([east.run(), west.run(), north.run()]);
    const outbound = stack.use(await openBridge(socketOf(mesh.folder, caller, "outbound"))).address;
    const admin = stack.use(await openBridge(socketOf(mesh.folder, caller, "admin"))).address;
    const tcp = stack.use(await openBridge(socketOf(mesh.folder, caller, "tcp"))).address;
    const ask = (service: string, body?: Buffer): ReturnType<typeof httpCall> =>
      askService(outbound, service, body);

    await until(async () => (await knownIn(admin)).length >= 5, "the endpoints");
    const without = [await ask(web), await ask(far)].map(({ status }) => status);

    const routerOf = async (zone: string, host: string, within: ZoneProcess): Promise<ZoneProcess> => {
      const routers = [{ service: `/mesh/${zone}`, host }];
      const process = stack.use(new ZoneProcess(plan(zone, { routers }), within));
      await process.run();
      return process;
    };
    const first = await routerOf("west", "10.77.1.2", west);
    await routerOf("north", "10.77.2.2", north);
    for (const service of [web, chat, far])
      await until(async () => (await ask(service)).status === 200, `a way to ${service}`);
    const ways = (await knownIn(admin)).filter(({ service }) => service === web || service === far);
    const wrong = without.map((status) => (status === 502 ? "" : `${status} without a router`));
    for (const { service, via } of ways)
      if (!via.startsWith("/mesh/")) wrong.push(`${service} is reached through ${via || "nobody"}`);

    wrong.push(...(await pass({ ask, outbound, tcp })));
    const second = await routerOf("west", "10.77.1.2", west);
    await until(async () => (await knownIn(admin)).length >= 8, "the second router");
    const { gets, posts, lost } = await killUnderLoad(outbound, first);
    await second.kill();
    const after = (await ask(web)).status;
    if (after !== 502) wrong.push(`${after} after the last router was killed`);
    if (gets.failures > 0) wrong.push(`GETs lost: ${gets.failures} ${gets.seen.join("; ")}`);
    for (const one of lost) if (!one.includes("upstream-reset")) wrong.push(`a POST lost otherwise: ${one}`);
    const figure = [
      `502 without a router; ${2 * requests} requests into two zones, a WebSocket, ${bodyBytes / 2 ** 20} MiB and ${tcpBytes / 2 ** 20} MiB over TCP through one`,
      `one of two killed at ${2 * requestsPerSecond} requests a second: ${gets.failures} of ${gets.requests} GETs and ${posts.failures} of ${posts.requests} POSTs lost, which were on their way in it, the slowest took ${Math.max(gets.millisMax, posts.millisMax).toFixed(0)} ms`,
      `502 again once both were killed`,
    ].join("; ");
    const said = wrong.filter((one) => one !== "");
    return said.length === 0 ? ok(figure) : failed(`${said.slice(0, 5).join("; ")} (${figure})`);
  },
};

function hostOf(service: string): string {
  return `${service.slice(1).split("/").reverse().join(".")}.mesh`;
}

function askService(outbound: string, service: string, body?: Buffer): ReturnType<typeof httpCall> {
  const sent = body === undefined ? {} : { method: "POST", body };
  return httpCall({ address: outbound, host: hostOf(service), path: "/", timeoutMillis: 30_000, ...sent });
}

/** What the caller's proxy knows of others. */
async function knownIn(admin: string): Promise<readonly { service: string; via: string }[]> {
  const { body } = await httpCall({ address: admin, host: admin, path: "/config", timeoutMillis: 5_000 });
  const endpoint = z.looseObject({ service: z.string(), via: z.string() });
  const config = z.looseObject({ endpoints: z.record(z.string(), z.array(endpoint)) });
  return Object.values(config.parse(JSON.parse(body)).endpoints).flat();
}

/** Sends everything that the mesh carries; answers with what went wrong. */
async function pass({
  ask,
  outbound,
  tcp,
}: {
  readonly ask: (service: string, body?: Buffer) => ReturnType<typeof httpCall>;
  readonly outbound: string;
  readonly tcp: string;
}): Promise<string[]> {
  const wrong: string[] = [];
  for (let count = 0; count < requests; count += 1)
    for (const service of [web, far]) {
      const { status } = await ask(service);
      if (status !== 200) wrong.push(`${service} answered ${status}`);
    }
  const body = randomBytes(bodyBytes);
  const { status, body: said } = await ask(web, body);
  const expected = `${bodyBytes} ${createHash("sha256").update(body).digest("hex")}`;
  if (status !== 200 || said !== expected) wrong.push(`the large body: ${status} ${said.slice(0, 80)}`);

  using socket = await openByUpgrade(Number(outbound.split(":")[1]), "early ", [], hostOf(chat));
  socket.send(Buffer.from("late"));
  await until(() => socket.received() === "early late", "the echo of a WebSocket").catch((error: unknown) =>
    wrong.push(String(error)),
  );

  const sent = randomBytes(tcpBytes);
  const near = await connectTo(tcp);
  near.socket.end(sent);
  await until(() => near.closed !== undefined, "the end of TCP").catch((error: unknown) =>
    wrong.push(String(error)),
  );
  if (!near.bytes.equals(sent)) wrong.push(`TCP: ${near.bytes.length} bytes came back`);
  return wrong;
}

/** Kills a router while requests of both kinds go through it. */
async function killUnderLoad(
  outboundAddress: string,
  router: ZoneProcess,
): Promise<{ readonly gets: LoadReport; readonly posts: LoadReport; readonly lost: readonly string[] }> {
  let isOver = false;
  const lost: string[] = [];
  const onEnd = ({ status, body }: AskedOnce): void => {
    if (status !== 200) lost.push(`${status} ${body.slice(0, 200)}`);
  };
  const load = { outboundAddress, host: hostOf(web), requestsPerSecond, isOver: () => isOver };
  const both = Promise.all([openLoopLoad(load), openLoopLoad({ ...load, body: "x", onEnd })]);
  await sleep(2_000);
  await router.kill();
  await sleep(3_000);
  isOver = true;
  const [gets, posts] = await both;
  return { gets, posts, lost };
}
