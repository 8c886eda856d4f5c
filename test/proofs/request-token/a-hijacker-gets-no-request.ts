import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { freePort } from "../../../src/cli/free-port.ts";
import { OperatorClient } from "../../../src/cli/operator-client.ts";
import { type GrantedSvid, obtainSvid } from "../../apparatus/granted-svid.ts";
import { httpCall } from "../../apparatus/http-call.ts";
import { registrationOf } from "../../apparatus/inspected-sidecar.ts";
import { openPlainMember } from "../../apparatus/plain-member.ts";
import { openMesh, type RunningMesh, repository, startTroth } from "../../apparatus/running-mesh.ts";
import { type Claim, failed, ok } from "../claim.ts";

const [web, deceived, player, mallory] = ["/shop/web", "/shop/deceived", "/media/player", "/shop/mallory"];
const host = "video.media.mesh";
const requests = 100;
const waitMillisMax = 60_000;
const pollMillis = 100;

interface Answers {
  readonly holder: number;
  readonly hijacker: number;
  readonly other: number;
}

/** The hijacker is registered, may be called, and has a good certificate; her server answers whatever it is asked. */
export const claim: Claim = {
  text: "a registered instance that signs an advertisement of another service's prefix gets none of 100 requests and is named with the holder; a caller whose checks are switched off sends her some",
  run: async () => {
    await using mesh = await openMesh({ kind: "up", args: ["--test-domain"] });
    await using stack = new AsyncDisposableStack();
    using client = await OperatorClient.open(mesh.directory);
    await client.append([web, deceived, player, mallory].map(registrationOf));
    const allowed = [web, deceived].flatMap((from) =>
      [player, mallory, "/media/video"].map((to) => ({ from, to })),
    );
    await client.append([
      ...allowed.map((pair) => ({
        kind: "rule.put" as const,
        body: { ...pair, effect: "allow", methods: [], paths: [] },
      })),
      { kind: "prefix.grant", body: grantOf("/media/video", player) },
    ]);
    const outbounds = [
      await run(mesh, stack, web, []),
      await run(mesh, stack, deceived, ["--danger-believe-advertisements"]),
    ];
    await run(mesh, stack, player, ["--prefix", "/media/video"]);
    for (const outbound of outbounds) await answered(outbound);

    await using hijacker = await obtainSvid(mesh, mallory);
    await using server = await openPlainMember(hijacker.credentials);
    await hijacker.advertise(server.address, ["/media/video"]);
    const alarm = await alarmOf(client, hijacker);
    const [checked, unchecked] = [await answersOf(outbounds[0] ?? ""), await answersOf(outbounds[1] ?? "")];

    const figure = `${checked.holder} of ${requests} answered by the holder, ${checked.hijacker} by the hijacker; with the checks off ${unchecked.hijacker} by the hijacker; alarm: ${alarm}`;
    const isSo =
      checked.holder === requests &&
      unchecked.hijacker > 0 &&
      alarm.includes(`${mallory} ${hijacker.instance} advertises /media/video, which ${player} holds`);
    return isSo ? ok(figure) : failed(`${figure}; ${checked.other + unchecked.other} other answers`);
  },
};

function grantOf(prefix: string, holder: string): Record<string, string | number | boolean> {
  return { prefix, holder, depthMax: 0, mayDelegate: false, notAfterSeconds: 0 };
}

/** Runs the least application as a service; where it takes the application's own requests. */
async function run(
  mesh: RunningMesh,
  stack: AsyncDisposableStack,
  service: string,
  options: readonly string[],
): Promise<string> {
  const port = await freePort();
  const command = [process.execPath, join(repository, "test", "apparatus", "small-app.ts")];
  const own = ["--service", service, "--outbound-port", String(port), "--outbound-clients", "any"];
  stack.use(startTroth(mesh.path, ["run", ...own, ...options, "--", ...command]));
  return `127.0.0.1:${port}`;
}

async function answered(outbound: string): Promise<void> {
  for (let waited = 0; waited < waitMillisMax; waited += pollMillis) {
    if ((await httpCall({ address: outbound, host, path: "/" })).status === 200) return;
    await sleep(pollMillis);
  }
  throw new Error(`${host} is not answered at ${outbound}`);
}

async function answersOf(outbound: string): Promise<Answers> {
  const counts = { holder: 0, hijacker: 0, other: 0 };
  for (let count = 0; count < requests; count += 1) {
    const { status, body } = await httpCall({ address: outbound, host, path: "/" });
    if (status === 200) counts[body.startsWith("ok") ? "holder" : "hijacker"] += 1;
    else counts.other += 1;
  }
  return counts;
}

async function alarmOf(client: OperatorClient, { instance }: GrantedSvid): Promise<string> {
  for (let waited = 0; waited < waitMillisMax; waited += pollMillis) {
    const { alarms } = await client.admin.getStatus({});
    const found = alarms.find(
      ({ reason, detail }) => reason === "advertisement-prefix-not-granted" && detail.includes(instance),
    );
    if (found !== undefined) return found.detail;
    await sleep(pollMillis);
  }
  return "none";
}
