import { setTimeout as sleep } from "node:timers/promises";
import {
  addAuthority,
  authoritiesOf,
  authorityInUse,
  ca,
  replaceOwnKey,
} from "../../apparatus/authority-commands.ts";
import { askExported, openExportedCaller } from "../../apparatus/exported-caller.ts";
import { openLoopLoad } from "../../apparatus/open-loop-load.ts";
import { openMesh, openService, parseStatus, troth } from "../../apparatus/running-mesh.ts";
import { askForTokens, putWorkloadEntry } from "../../apparatus/token-load.ts";
import { type Claim, failed, ok } from "../claim.ts";

const svidLifetimeSeconds = 40;
const requestsPerSecondShort = 300;
const requestsPerSecondFull = 500;
const exportedPerSecond = 20;
const tokensPerSecond = 10;
const tokenUses = ["jwt-svid", "wit-svid"] as const;
const tokenUsesShort = ["jwt-svid"] as const;
const roles = ["issuer", "sequencer", "server"] as const;
/** Connections are replaced over the first tenth of a new certificate's life. */
const drainedMillis = 4_500;
const roundsFull = 5;

/**
 * Root, intermediate, both keys of tokens, and the keys by which the control plane acts, while one caller speaks the
 * link, another one HTTP/1.1 on a connection per request, and a third one has tokens issued and checked.
 */
export const claim: Claim = {
  text: "everything that signs is replaced under load, from the root and the keys of tokens to those of issuer, sequencer and server, and no request fails",
  limitSeconds: 400,
  run: async ({ isFull, note }) => {
    await using mesh = await openMesh({
      requestTokens: "off",
      kind: "up",
      args: ["--svid-lifetime", String(svidLifetimeSeconds)],
    });
    await using callee = await openService(mesh, "/proof/callee");
    await using caller = await openService(mesh, "/proof/caller");
    const allowed = await troth(mesh.path, "allow", "/proof/*", "/proof/callee");
    if (allowed.code !== 0) return failed(`troth allow: ${allowed.stderr}`);
    await using exported = await openExportedCaller(mesh, "/proof/foreign");
    await putWorkloadEntry(mesh, "/proof/caller");
    const over = new AbortController();
    const isOver = (): boolean => over.signal.aborted;
    const requestsPerSecond = isFull ? requestsPerSecondFull : requestsPerSecondShort;
    const { outboundAddress } = caller;
    const loads = Promise.all([
      openLoopLoad({ outboundAddress, host: "callee.proof.mesh", requestsPerSecond, isOver }),
      askExported(exported, { address: callee.status.address, requestsPerSecond: exportedPerSecond, isOver }),
      askForTokens(mesh, { perSecond: tokensPerSecond, isOver }),
    ]);
    const uses = isFull ? tokenUses : tokenUsesShort;
    const rounds: Round[] = [];
    let problem: string | undefined;
    try {
      for (let round = 1; round <= (isFull ? roundsFull : 1); round += 1) {
        const keys = await replaceKeys(mesh.path, uses);
        rounds.push({ ...(await replaceChain(mesh.path)), keys });
        note(`round ${round}`);
      }
      await sleep(1_000);
      problem = await whatIsLeft(mesh.path);
    } catch (error) {
      problem = String(error);
    } finally {
      over.abort();
    }
    const [link, http1, tokens] = await loads;
    const replaced = rounds.reduce((sum, one) => sum + one.replaced, 0);
    const seconds = Math.max(0, ...rounds.map((one) => one.seconds)).toFixed(1);
    const figure = `${rounds.length} × root, intermediate, ${uses.join(", ")}, ${roles.join(", ")} (now ${rounds.at(-1)?.keys.join(", ") ?? "none"}): ${link.requests} requests over the link at ${requestsPerSecond}/s, ${link.failures} failed (p99 ${link.millisP99.toFixed(0)} ms); ${http1.requests} over HTTP/1.1 with a new connection each, ${http1.failures.length} failed; ${tokens.tokens} JWT-SVIDs issued and checked, ${tokens.failures.length} failed; ${replaced} certificates replaced, the last one ${seconds} s after the taint at the latest`;
    const seen = [...link.seen, ...http1.failures.slice(0, 3), ...tokens.failures.slice(0, 3)];
    if (problem !== undefined) return failed(`${problem}; ${figure}`);
    return seen.length === 0 ? ok(figure) : failed(`${seen.join("; ")}: ${figure}`);
  },
};

interface Round extends Chain {
  /** By which the control plane acts from then on. */
  readonly keys: readonly string[];
}

interface Chain {
  readonly replaced: number;
  readonly seconds: number;
}

async function replaceKeys(path: string, uses: readonly (typeof tokenUses)[number][]): Promise<string[]> {
  for (const use of uses) {
    const old = await authorityInUse(path, use);
    await addAuthority(path, use);
    await ca(path, "revoke", old.id, "--reason", "superseded", "--wait");
  }
  const names: string[] = [];
  for (const role of roles) names.push(await replaceOwnKey(path, role));
  return names;
}

async function replaceChain(path: string): Promise<Chain> {
  const root = await authorityInUse(path, "root");
  await addAuthority(path, "root");
  const next = await addAuthority(path, "intermediate");
  const taintedMillis = performance.now();
  await ca(path, "taint", root.id, "--wait");
  const seconds = (performance.now() - taintedMillis) / 1000;
  const replaced = (await authoritiesOf(path)).find(({ id }) => id === next)?.instances ?? 0;
  await sleep(drainedMillis);
  await ca(path, "revoke", root.id, "--reason", "superseded", "--wait");
  return { replaced, seconds };
}

/** What still is of the old chain, or what an audit of the log finds. */
async function whatIsLeft(path: string): Promise<string | undefined> {
  const left = (await authoritiesOf(path)).filter(
    ({ state, certificates }) => state === "revoked" && certificates > 0,
  );
  if (left.length > 0) return `${left.length} revoked authorities have certificates in force`;
  const { alarms } = parseStatus((await troth(path, "status", "-o", "json")).stdout);
  const lost = alarms.find(({ reason }) => reason === "unknown-server" || reason === "entry-without-effect");
  if (lost !== undefined) return `an alarm: ${lost.reason}: ${lost.detail}`;
  const { code, stdout, stderr } = await troth(path, "ca", "audit");
  return code === 0 ? undefined : `troth ca audit: ${stdout}${stderr}`;
}
