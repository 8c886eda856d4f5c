import { logPapers, makePapers, metadataExtension, type Papers } from "../../apparatus/hostile-peer.ts";
import { askAsPeer } from "../../apparatus/http2-peer.ts";
import { endpointOf } from "../../apparatus/known-endpoints.ts";
import { MeshInProcess, until } from "../../apparatus/mesh-in-process.ts";
import { openPlainApp } from "../../apparatus/plain-app.ts";
import type { Workload } from "../../apparatus/workload.ts";
import {
  type Attack,
  type HostileRouter,
  openHostileRouter,
  openRouterIn,
} from "../../apparatus/zone-routers.ts";
import { type Claim, failed, ok } from "../claim.ts";

const secret = "only-for-the-two-of-them";
const long = secret.repeat(4_000);
const attacks: readonly Attack[] = ["read", "flip-to-callee", "flip-to-caller", "impersonate"];
const rounds = 3;

interface Zones {
  readonly mesh: MeshInProcess;
  /** The agents of the nodes there. */
  readonly west: string;
  readonly north: string;
  readonly caller: Workload;
}

export const claim: Claim = {
  text: "a router that has been taken over can read, alter or answer nothing of what it carries, and one that has not carries nobody to where they have no business",
  run: async () => {
    await using mesh = await MeshInProcess.found();
    const [west, north] = [await mesh.joinNode("west-1"), await mesh.joinNode("north-1")];
    await mesh.put("node.zone", { node: "here", zone: "east" });
    await mesh.put("node.zone", { node: "west-1", zone: "west" });
    await mesh.put("node.zone", { node: "north-1", zone: "north" });
    const caller = await mesh.open("/proof/caller");
    const zones = { mesh, west, north, caller };
    const wrong: string[] = [];
    const refused = await refusals(zones, wrong);

    await using router = await openHostileRouter(mesh, "/mesh/west", west);
    const seen: string[] = [];
    for (const attack of attacks) seen.push(await attacked(zones, { router, attack, wrong }));
    if (router.seen().includes(secret)) wrong.push("the secret was among what the router saw");
    if (router.told() !== "") wrong.push(`the router was told ${router.told().length} bytes in plain text`);
    const figure = [
      `${router.seen().length} bytes seen, the secret not among them`,
      ...seen,
      `0 bytes told to it as the destination`,
      `refused: ${refused.join(", ")}, with 0 bytes at either end`,
    ].join("; ");
    return wrong.length === 0 ? ok(figure) : failed(`${wrong.slice(0, 5).join("; ")} (${figure})`);
  },
};

/** Calls new instances through a router that does so; answers with what came of it. */
async function attacked(
  { mesh, west, caller }: Zones,
  {
    router,
    attack,
    wrong,
  }: { readonly router: HostileRouter; readonly attack: Attack; readonly wrong: string[] },
): Promise<string> {
  router.attack = attack;
  const before = router.tunnels();
  let through = 0;
  let without = 0;
  for (let round = 1; round <= rounds; round += 1) {
    const app = await openPlainApp({ answer: (_request, response) => response.end(`answer ${long}`) });
    const callee = await mesh.open(`/proof/${attack}-${round}`, { agentSocketPath: west, app });
    await mesh.putRule(caller.service, callee.service);
    await mesh.settled();
    const isKnown = async (): Promise<boolean> => {
      const [endpoint, way] = [
        await endpointOf(caller, callee).catch(() => undefined),
        await endpointOf(caller, { service: "/mesh/west", instance: router.instance }).catch(() => undefined),
      ];
      return endpoint?.zone === "west" && way?.isAvoided === false;
    };
    await until(isKnown, "the endpoint");
    const { status, body } = await caller.call(callee.host, { method: "POST", body: long });
    const isTrue = status === 200 && body === `answer ${long}`;
    if (status === 200 && !isTrue) wrong.push(`${attack}: an answer that nobody gave: ${body.slice(0, 60)}`);
    if (app.seen.some((request) => request.body !== long))
      wrong.push(`${attack}: a request that nobody made`);
    const { via } = await endpointOf(caller, callee);
    if (isTrue && via !== "") through += 1;
    if (isTrue && via === "") without += 1;
    if (attack === "read" && !isTrue) wrong.push(`read: ${status} ${body.slice(0, 80)}`);
    await callee[Symbol.asyncDispose]();
  }
  const tunnels = router.tunnels() - before;
  if (tunnels < rounds) wrong.push(`${attack}: ${tunnels} tunnels only`);
  if (attack === "impersonate" && through > 0) wrong.push("an impostor was let answer");
  return `${attack}: of ${rounds} calls ${through} answered through it, ${without} past it, ${rounds - through - without} failed, none falsely`;
}

/** Asks an honest router for what it must not carry; answers with its reasons. */
async function refusals({ mesh, west, north, caller }: Zones, wrong: string[]): Promise<string[]> {
  await using router = await openRouterIn(mesh, "/mesh/honest", { agentSocketPath: west });
  await using callee = await mesh.open("/proof/callee", { agentSocketPath: west });
  await using elsewhere = await mesh.open("/proof/elsewhere", { agentSocketPath: north });
  await using stranger = await mesh.open("/proof/stranger");
  for (const to of [callee, elsewhere]) await mesh.putRule(caller.service, to.service);
  const [papers, strangers] = [await papersOf(mesh, caller), await papersOf(mesh, stranger)];
  const connect = (authority: string): Record<string, string> => ({
    ":method": "CONNECT",
    ":authority": authority,
  });
  const there = callee.sidecar.inboundAddress;
  await until(async () => {
    await using asked = await askAsPeer(router.router.address, papers, connect(there));
    return asked.status === 200;
  }, "a tunnel that may be");
  const bytes = callee.app.bytes();
  const cases: readonly (readonly [string, Papers, string])[] = [
    ["not-an-endpoint", papers, `127.0.0.1:${callee.app.port}`],
    ["not-an-endpoint", papers, router.router.adminAddress],
    ["not-an-endpoint", papers, router.router.address],
    ["other-zone", papers, elsewhere.sidecar.inboundAddress],
    ["no-rule", strangers, there],
  ];
  for (const [reason, who, address] of cases) {
    await using asked = await askAsPeer(router.router.address, who, connect(address));
    if (asked.reason() !== reason)
      wrong.push(`${address}: ${asked.status} ${asked.reason()} instead of ${reason}`);
  }
  if (callee.app.bytes() !== bytes) wrong.push("a refused tunnel reached an application");
  const recorded = (await router.audit()).filter(({ effect }) => effect === "deny");
  if (recorded.length < cases.length)
    wrong.push(`${recorded.length} of ${cases.length} refusals are on record`);
  return cases.map(([reason]) => reason);
}

/** A good certificate of a workload's instance, for whoever is to speak past its sidecar. */
async function papersOf(mesh: MeshInProcess, { service, instance }: Workload): Promise<Papers> {
  const papers = makePapers(mesh.intermediate, [`spiffe://${mesh.trustDomain}${service}`], {
    extensions: (usual) => [...usual, metadataExtension(instance, service)],
  });
  await logPapers(mesh, papers, { service, instance });
  await mesh.settled();
  return papers;
}
