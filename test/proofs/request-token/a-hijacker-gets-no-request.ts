import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { create } from "@bufbuild/protobuf";
import { bytesOf, textOf } from "../../../src/base/bytes.ts";
import { freePort } from "../../../src/cli/free-port.ts";
import { OperatorClient } from "../../../src/cli/operator-client.ts";
import { type Advertisement, AdvertisementSchema } from "../../../src/protocol/index.ts";
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
  readonly attacker: number;
  readonly other: number;
}

/** The hijacker is registered, may be called, and has a good certificate; her server answers whatever it is asked. */
export const claim: Claim = {
  text: "a registered instance that signs an advertisement of another service's prefix gets none of 100 requests and is named with the holder, and so does one to whose advertisement somebody adds a prefix on the way; a caller whose checks are switched off sends both some",
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

    const attack = { mesh, client, outbounds };
    const hijacked = await attacked(attack, {
      service: mallory,
      reason: "advertisement-prefix-not-granted",
      alarm: (instance) => `${mallory} ${instance} advertises /media/video, which ${player} holds`,
      advertise: (hijacker, address) => hijacker.advertise(address, ["/media/video"]),
    });
    // The holder's own instance, which does not serve the prefix: the signature alone says that it never said so.
    const forged = await attacked(attack, {
      service: player,
      reason: "advertisement-bad-signature",
      alarm: (instance) => instance,
      advertise: (instance, address) => instance.advertise(address, [], withPrefix),
    });
    const figure = `hijacked: ${hijacked.figure}; forged: ${forged.figure}`;
    return hijacked.isSo && forged.isSo ? ok(figure) : failed(figure);
  },
};

interface Attack {
  readonly service: string;
  /** Of the alarm, and what that has to say. */
  readonly reason: string;
  readonly alarm: (instance: string) => string;
  readonly advertise: (attacker: GrantedSvid, address: string) => Promise<void>;
}

/** What two callers are answered while an attacker advertises: one that checks, and one that believes everything. */
async function attacked(
  on: { readonly mesh: RunningMesh; readonly client: OperatorClient; readonly outbounds: readonly string[] },
  attack: Attack,
): Promise<{ readonly isSo: boolean; readonly figure: string }> {
  const { mesh, client, outbounds } = on;
  await using attacker = await obtainSvid(mesh, attack.service);
  await using server = await openPlainMember(attacker.credentials);
  await attack.advertise(attacker, server.address);
  const alarm = await alarmOf(client, attack.reason, attacker);
  const [checked, unchecked] = [await answersOf(outbounds[0] ?? ""), await answersOf(outbounds[1] ?? "")];
  const isSo =
    checked.holder === requests && unchecked.attacker > 0 && alarm.includes(attack.alarm(attacker.instance));
  const others = checked.other + unchecked.other;
  const figure = `${checked.holder} of ${requests} answered by the holder, ${checked.attacker} by the attacker; with the checks off ${unchecked.attacker} by the attacker; ${others} otherwise; alarm: ${alarm}`;
  return { isSo, figure };
}

/** What was signed, with a prefix that was not; the signature is as it was. */
function withPrefix({ statement, publicKey, signature }: Advertisement): Advertisement {
  const text = (textOf(statement) ?? "").replace('"prefixes":[]', '"prefixes":["/media/video"]');
  return create(AdvertisementSchema, { statement: bytesOf(text), publicKey, signature });
}

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
  const counts = { holder: 0, attacker: 0, other: 0 };
  for (let count = 0; count < requests; count += 1) {
    const { status, body } = await httpCall({ address: outbound, host, path: "/" });
    if (status === 200) counts[body.startsWith("ok") ? "holder" : "attacker"] += 1;
    else counts.other += 1;
  }
  return counts;
}

async function alarmOf(client: OperatorClient, wanted: string, { instance }: GrantedSvid): Promise<string> {
  for (let waited = 0; waited < waitMillisMax; waited += pollMillis) {
    const { alarms } = await client.admin.getStatus({});
    const found = alarms.find(({ reason, detail }) => reason === wanted && detail.includes(instance));
    if (found !== undefined) return found.detail;
    await sleep(pollMillis);
  }
  return "none";
}
