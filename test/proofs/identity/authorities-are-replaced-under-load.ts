import { setTimeout as sleep } from "node:timers/promises";
import { addAuthority, authoritiesOf, authorityInUse, ca } from "../../apparatus/authority-commands.ts";
import { askExported, openExportedCaller } from "../../apparatus/exported-caller.ts";
import { openLoopLoad } from "../../apparatus/open-loop-load.ts";
import { openMesh, openService, troth } from "../../apparatus/running-mesh.ts";
import { type Claim, failed, ok } from "../claim.ts";

const svidLifetimeSeconds = 40;
const requestsPerSecondShort = 300;
const requestsPerSecondFull = 500;
const exportedPerSecond = 20;
/** Connections are replaced over the first tenth of a new certificate's life. */
const drainedMillis = 4_500;
const roundsFull = 5;

/** Root and intermediate, while one caller speaks the link and another one HTTP/1.1 on a connection per request. */
export const claim: Claim = {
  text: "the whole chain of authorities is replaced under load, from a new root to the end of the old one, and no request fails",
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
    const over = new AbortController();
    const isOver = (): boolean => over.signal.aborted;
    const requestsPerSecond = isFull ? requestsPerSecondFull : requestsPerSecondShort;
    const { outboundAddress } = caller;
    const loads = Promise.all([
      openLoopLoad({ outboundAddress, host: "callee.proof.mesh", requestsPerSecond, isOver }),
      askExported(exported, { address: callee.status.address, requestsPerSecond: exportedPerSecond, isOver }),
    ]);
    const rounds: Round[] = [];
    let problem: string | undefined;
    try {
      for (let round = 1; round <= (isFull ? roundsFull : 1); round += 1) {
        rounds.push(await replaceChain(mesh.path));
        note(`round ${round}`);
      }
      await sleep(1_000);
      problem = await whatIsLeft(mesh.path);
    } catch (error) {
      problem = String(error);
    } finally {
      over.abort();
    }
    const [link, http1] = await loads;
    const replaced = rounds.reduce((sum, one) => sum + one.replaced, 0);
    const seconds = Math.max(0, ...rounds.map((one) => one.seconds)).toFixed(1);
    const figure = `${rounds.length} × root and intermediate: ${link.requests} requests over the link at ${requestsPerSecond}/s, ${link.failures} failed (p99 ${link.millisP99.toFixed(0)} ms); ${http1.requests} over HTTP/1.1 with a new connection each, ${http1.failures.length} failed; ${replaced} certificates replaced, the last one ${seconds} s after the taint at the latest`;
    const seen = [...link.seen, ...http1.failures.slice(0, 3)];
    if (problem !== undefined) return failed(`${problem}; ${figure}`);
    return seen.length === 0 ? ok(figure) : failed(`${seen.join("; ")}: ${figure}`);
  },
};

interface Round {
  readonly replaced: number;
  readonly seconds: number;
}

async function replaceChain(path: string): Promise<Round> {
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
  const { code, stdout, stderr } = await troth(path, "ca", "audit");
  return code === 0 ? undefined : `troth ca audit: ${stdout}${stderr}`;
}
