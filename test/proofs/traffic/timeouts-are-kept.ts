import { httpCall } from "../../apparatus/http-call.ts";
import { quantile } from "../../apparatus/open-loop-load.ts";
import { trafficMesh } from "../../apparatus/traffic-mesh.ts";
import { type Claim, failed, ok } from "../claim.ts";

const routeMillis = [50, 200, 1_000];
const timesShort = 20;
const timesFull = 200;
/** Longer than a response is waited for without a policy. */
const patientMillis = 35_000;
/** How late half of the answers may be: the tick of the waits is 10 ms, the rest is for the way and a busy machine. */
const lateMillisMax = 150;

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
      const [answers, plain] = await Promise.all([
        Promise.all(Array.from({ length: times }, () => ask(`/${millis}/never`))),
        ask("/plain"),
      ]);
      const late = answers.map((one) => one.millis - millis).sort((left, right) => left - right);
      const [p50, p99] = [quantile(late, 0.5), quantile(late, 0.99)];
      lateness.push(`${millis} ms by ${p50.toFixed(0)} ms at p50 and ${p99.toFixed(0)} at p99`);
      const wrong = answers.find(({ status, body }) => status !== 504 || !body.includes("request-timeout"));
      if (wrong !== undefined) problems.push(`${wrong.status} ${wrong.body}`);
      if ((late[0] ?? -1) < 0)
        problems.push(`an answer after ${(millis + (late[0] ?? 0)).toFixed(1)} of ${millis} ms`);
      if (p50 > lateMillisMax) problems.push(`half of the answers ${p50.toFixed(0)} ms late`);
      if (plain.status !== 200) problems.push(`another route answers ${plain.status}`);
    }
    const answer = await patient;
    if (answer !== undefined && answer.status !== 200)
      problems.push(`after ${patientMillis} ms: ${answer.status} ${answer.body}`);
    const figure = `timeouts are late: of ${lateness.join(", ")}`;
    return problems.length === 0 ? ok(figure) : failed(`${problems.join("; ")}; ${figure}`);
  },
};
