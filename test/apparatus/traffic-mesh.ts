import { writeFileSync } from "node:fs";
import type http from "node:http";
import { join } from "node:path";
import type { JsonObject } from "../../src/base/canonical-json.ts";
import { temporaryFolder } from "../contracts/temporary-folder.ts";
import { allow } from "./grpc-mesh.ts";
import { httpCall } from "./http-call.ts";
import { openPlainApp, type PlainApp } from "./plain-app.ts";
import { openMesh, openService, type RunningMesh, type RunningService, troth } from "./running-mesh.ts";
import { Shared } from "./shared-apparatus.ts";

const answerMillisMax = 20_000;

/** A service whose application is in this process, and answers as a claim wants it to. */
export interface AnsweringService {
  readonly name: string;
  /** The Host by which others call it. */
  readonly host: string;
  /** What it answers with from now on. */
  answer: http.RequestListener;
  /** How many requests have come to it. */
  seen: number;
  /** Where the sidecar takes its own requests. */
  readonly outboundAddress: string;
}

/** A mesh for claims about traffic policies: front may call middle and leaf, middle may call leaf, front its shadow. */
export interface TrafficMesh extends AsyncDisposable {
  readonly front: RunningService;
  readonly middle: AnsweringService;
  readonly leaf: AnsweringService;
  readonly shadow: AnsweringService;
  /** Puts traffic policies in force by `troth apply`, and waits until all proxies have them; throws what it says. */
  readonly police: (policies: Readonly<Record<string, JsonObject>>) => Promise<void>;
  /** Takes back all that was put in force, and lets every service answer as at first. */
  readonly unpolice: () => Promise<void>;
  /** The sum of what the front's sidecar counts under a name, over labels that include these. */
  readonly counted: (metric: string, labels?: string) => Promise<number>;
}

/** For all claims about traffic policies. */
export const trafficMesh: Shared<TrafficMesh> = new Shared(openTrafficMesh);

async function openTrafficMesh(): Promise<TrafficMesh> {
  await using stack = new AsyncDisposableStack();
  const folder = stack.use(await temporaryFolder());
  const mesh = stack.use(await openMesh({ kind: "up" }));
  const front = stack.use(await openService(mesh, "/traffic/front"));
  const [middle, leaf, shadow] = [
    await openAnswering(stack, mesh, "middle"),
    await openAnswering(stack, mesh, "leaf"),
    await openAnswering(stack, mesh, "shadow"),
  ];
  for (const name of ["middle", "leaf", "shadow"]) await allow(mesh, "/traffic/front", `/traffic/${name}`);
  await allow(mesh, "/traffic/middle", "/traffic/leaf");
  for (const { host } of [middle, leaf, shadow]) await untilAnswered(front.outboundAddress, host);
  await untilAnswered(middle.outboundAddress, leaf.host);
  const opened = stack.move();
  const policed = new Set<string>();
  return {
    front,
    middle,
    leaf,
    shadow,
    police: async (policies) => {
      for (const name of Object.keys(policies)) policed.add(name);
      await police(mesh, join(folder.path, "traffic.yaml"), policies);
    },
    unpolice: async () => {
      for (const service of [middle, leaf, shadow]) service.answer = okay;
      for (const name of policed) await troth(mesh.path, "delete", "trafficpolicy", name);
      policed.clear();
    },
    counted: async (metric, labels = "") => {
      const page = await (await fetch(`http://${front.status.adminAddress}/metrics`)).text();
      return page
        .split("\n")
        .filter((line) => line.startsWith(`${metric}{`) && line.includes(labels))
        .reduce((sum, line) => sum + Number(line.split(" ").at(-1)), 0);
    },
    [Symbol.asyncDispose]: () => opened.disposeAsync(),
  };
}

async function openAnswering(
  stack: AsyncDisposableStack,
  mesh: RunningMesh,
  name: string,
): Promise<AnsweringService> {
  const parts: { service?: AnsweringService } = {};
  const app: PlainApp = stack.use(
    await openPlainApp({
      answer: (request, response) => {
        app.seen.length = 0;
        if (parts.service === undefined) return void response.end("ok\n");
        parts.service.seen += 1;
        return parts.service.answer(request, response);
      },
    }),
  );
  const path = `/traffic/${name}`;
  const running = stack.use(await openService(mesh, path, { command: ["sleep", "604800"], port: app.port }));
  const { outboundAddress } = running;
  parts.service = { name: path, host: `${name}.traffic.mesh`, answer: okay, seen: 0, outboundAddress };
  return parts.service;
}

const okay: http.RequestListener = (_, response) => {
  response.end("ok\n");
};

async function untilAnswered(address: string, host: string): Promise<void> {
  const deadline = performance.now() + answerMillisMax;
  for (;;) {
    const { status, body } = await httpCall({ address, host, path: "/" });
    if (status === 200) return;
    if (performance.now() > deadline) throw new Error(`${host} answers ${status} ${body}`);
    await new Promise((resolve) => setTimeout(resolve, 50));
  }
}

async function police(
  mesh: RunningMesh,
  file: string,
  policies: Readonly<Record<string, JsonObject>>,
): Promise<void> {
  const objects = Object.entries(policies).map(([name, spec]) =>
    JSON.stringify({ apiVersion: "troth/v1", kind: "TrafficPolicy", metadata: { name }, spec }),
  );
  writeFileSync(file, `${objects.join("\n---\n")}\n`);
  const { code, stderr } = await troth(mesh.path, "apply", "-f", file);
  if (code !== 0) throw new Error(`troth apply ended with ${code}: ${stderr.trim()}`);
}
