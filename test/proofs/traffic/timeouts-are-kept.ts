import { httpCall } from "../../apparatus/http-call.ts";
import { quantile } from "../../apparatus/open-loop-load.ts";
import { trafficMesh } from "../../apparatus/traffic-mesh.ts";
import { type Claim, failed, ok } from "../claim.ts";

const routeMillis = [50, 200, 1_000];
const timesShort = 20;
const timesFull = 200;
/** Longer than a response is waited for without a policy. */
const patientMillis = 35_000;
/** How late half of the answers may be: the tick of the waits is 10 ms, the rest is for the way. */
const lateMillisMax = 150;
/**
 * On a machine that is too busy for that they may be so much later than answers that the application gives by a timer of
 * its own after the same time, asked for at the same moment: those say how long the way takes now.
 */
const laterThanOwnMillisMax = 50;

export const claim: Claim = {
  text: "a request is answered 504 when its route's time is over, never before and hardly later, while requests of other routes go on; a long time is kept as well (--full: an answer after 35 s)",
  uses: [trafficMesh],
  run: async (context) => {
    const mesh = await trafficMesh.get();
    await using _ = { [Symbol.asyncDispose]: () => mesh.unpolice() };
    const routes = routeMillis.map((timeoutMillis) => ({ paths: [`/${timeoutMillis}`], timeoutMillis }));
    await mesh.police({ [mesh.leaf.name]: { timeoutMillis: 60_000, routes } });
    mesh.leaf.answer = ({ url }, response) => {
      if (url === "/plain") response.end("ok\n");
      const [, answeredMillis] = /^\/after\/([0-9]+)$/.exec(url ?? "") ?? [];
      if (answeredMillis !== undefined) setTimeout(() => response.end("ok\n"), Number(answeredMillis));
      if (url === "/patient") setTimeout(() => response.end("ok\n"), patientMillis);
    };
    const ask = async (path: string): Promise<{ status: number; body: string; millis: number }> => {
      const started = performance.now();
      const { status, body } = await httpCall({
        address: mesh.front.outboundAddress,
        host: mesh.leaf.host,
        path,
        timeoutMillis: 60_000,
      });
      return { status, body, millis: performance.now() - started };
    };
    const patient = context.isFull ? ask("/patient") : undefined;
    const lateness: string[] = [];
    const problems: string[] = [];
    for (const millis of routeMillis) {
      const times = context.isFull ? timesFull : timesShort;
      const pairs = Array.from({ length: times }, () =>
        Promise.all([ask(`/${millis}/never`), ask(`/after/${millis}`)]),
      );
      const [answered, plain] = await Promise.all([Promise.all(pairs), ask("/plain")]);
      const answers = answered.map(([refused]) => refused);
      const late = latenessOf(answers, millis);
      const wayMillis = quantile(
        latenessOf(
          answered.map(([, own]) => own),
          millis,
        ),
        0.5,
      );
      const [p50, p99] = [quantile(late, 0.5), quantile(late, 0.99)];
      lateness.push(
        `${millis} ms by ${p50.toFixed(0)} ms at p50 and ${p99.toFixed(0)} at p99 (the application's own by ${wayMillis.toFixed(0)} at p50)`,
      );
      const wrong = answers.find(({ status, body }) => status !== 504 || !body.includes("request-timeout"));
      if (wrong !== undefined) problems.push(`${wrong.status} ${wrong.body}`);
      if ((late[0] ?? -1) < 0)
        problems.push(`an answer after ${(millis + (late[0] ?? 0)).toFixed(1)} of ${millis} ms`);
      if (p50 > Math.max(lateMillisMax, wayMillis + laterThanOwnMillisMax))
        problems.push(
          `half of the answers ${p50.toFixed(0)} ms late, the application's own ${wayMillis.toFixed(0)}`,
        );
      if (answered.some(([, { status }]) => status !== 200))
        problems.push("an answer of the application in its own time did not arrive");
      if (plain.status !== 200) problems.push(`another route answers ${plain.status}`);
    }
    const answer = await patient;
    if (answer !== undefined && answer.status !== 200)
      problems.push(`after ${patientMillis} ms: ${answer.status} ${answer.body}`);
    const figure = `timeouts are late: of ${lateness.join(", ")}`;
    return problems.length === 0 ? ok(figure) : failed(`${problems.join("; ")}; ${figure}`);
  },
};

/** By how much answers came after their time, in milliseconds, in ascending order. */
function latenessOf(answers: readonly { readonly millis: number }[], millis: number): number[] {
  return answers.map((one) => one.millis - millis).sort((left, right) => left - right);
}
