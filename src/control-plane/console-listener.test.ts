import http from "node:http";
import { afterAll, beforeAll, expect, it, test } from "vitest";
import { temporaryFolder } from "../../test/contracts/temporary-folder.ts";
import { fakeClock } from "../../test/fakes/fake-clock.ts";
import { adminAs, putEpoch, putPerson } from "../../test/fakes/people.ts";
import {
  foundSmallDomain,
  putAsOperator,
  type RunningControlPlane,
  runControlPlane,
  type SmallDomain,
} from "../../test/fakes/small-domain.ts";
import type { NoteSigner } from "../trust-log/index.ts";

const open = new AsyncDisposableStack();
const clock = fakeClock();
let domain: SmallDomain;
let running: RunningControlPlane;
let victor: NoteSigner;
let own: string;

beforeAll(async () => {
  const folder = open.use(await temporaryFolder());
  domain = await foundSmallDomain(folder.path, clock);
  running = open.use(await runControlPlane(domain, clock));
  victor = await putPerson(domain, running, { role: "viewer", person: "victor" });
  own = running.controlPlane.consoleAddress;
});
afterAll(() => open.disposeAsync());

interface Answer {
  readonly status: number;
  readonly headers: http.IncomingHttpHeaders;
  readonly body: string;
}

function ask(
  path: string,
  headers: http.OutgoingHttpHeaders,
  { method = "GET", body = "" } = {},
): Promise<Answer> {
  return new Promise((resolve, reject) => {
    const [host, port] = own.split(":");
    const request = http.request({ host, port, path, method, headers, agent: false }, (response) => {
      const chunks: Buffer[] = [];
      response.on("data", (chunk: Buffer) => chunks.push(chunk));
      response.on("error", reject);
      response.on("end", () =>
        resolve({
          status: response.statusCode ?? 0,
          headers: response.headers,
          body: Buffer.concat(chunks).toString(),
        }),
      );
    });
    request.on("error", reject);
    request.end(body);
  });
}

async function signIn(signer: NoteSigner): Promise<string> {
  using calls = await adminAs(running, signer);
  const { url } = await calls.admin.openSession({});
  const answer = await ask(new URL(url).pathname, { "sec-fetch-site": "none" });
  expect(answer.status).toBe(303);
  return answer.headers["set-cookie"]?.[0]?.split(";")[0] ?? "";
}

function post(call: string, cookie: string, headers: http.OutgoingHttpHeaders = {}): Promise<Answer> {
  const usual = { cookie, origin: `http://${own}`, "content-type": "application/json" };
  return ask(`/troth.v1.Admin/${call}`, { ...usual, ...headers }, { method: "POST", body: "{}" });
}

it("signs a browser in with a code, once, and shows who is signed in", async () => {
  using calls = await adminAs(running, victor);
  const { url } = await calls.admin.openSession({});
  const path = new URL(url).pathname;

  const answer = await ask(path, {});
  const again = await ask(path, {});

  expect(answer).toMatchObject({ status: 303, headers: { location: "/" } });
  const cookie = answer.headers["set-cookie"]?.[0] ?? "";
  expect(cookie).toMatch(/^troth-session=[\w-]{43}; Path=\/; HttpOnly; SameSite=Strict; Max-Age=28800$/);
  expect(again.status).toBe(403);
  expect(again.body).toContain("used-code");
  const page = await ask("/", { cookie: cookie.split(";")[0] });
  expect(page.status).toBe(200);
  expect(page.body).toContain(`${victor.name} (viewer)`);
  expect(page.headers).toMatchObject({
    "content-security-policy": expect.stringContaining("default-src 'self'; frame-ancestors 'none'"),
    "x-content-type-options": "nosniff",
    "cache-control": "no-store",
  });
});

it("answers what reads, and nothing that writes", async () => {
  const cookie = await signIn(domain.operator);

  expect(JSON.parse((await post("GetStatus", cookie)).body)).toHaveProperty("size");
  expect((await post("ListProposals", cookie)).status).toBe(200);
  for (const call of ["Append", "Propose", "Approve", "WithdrawProposal", "OpenSession"])
    expect((await post(call, cookie)).status).toBe(404);
});

test.each<[string, http.OutgoingHttpHeaders, number]>([
  ["no cookie", { cookie: "" }, 401],
  ["a cookie that somebody made up", { cookie: `troth-session=${"x".repeat(43)}` }, 401],
  ["a page elsewhere", { origin: "https://evil.example", "sec-fetch-site": "cross-site" }, 403],
  ["a name that was bound again", { host: "evil.example", origin: "http://evil.example" }, 403],
  ["a form", { "content-type": "application/x-www-form-urlencoded" }, 415],
])("refuses a call with %s, and allows no page to read the answer", async (_what, headers, status) => {
  const answer = await post("GetStatus", await signIn(victor), headers);

  expect(answer.status).toBe(status);
  expect(Object.keys(answer.headers).filter((name) => name.startsWith("access-control"))).toEqual([]);
});

it("raises an alarm where a page or a second user of a code tried", async () => {
  await ask("/", { host: "evil.example" });
  using calls = await adminAs(running, domain.operator);
  const { url } = await calls.admin.openSession({});
  await ask(new URL(url).pathname, {});
  await ask(new URL(url).pathname, {});
  // A page has as many names as it likes, and still hides nothing of what sessions have raised.
  for (let name = 0; name < 40; name += 1) await ask("/", { host: `evil-${name}.example` });
  await ask("/", { host: "evil.example" });

  const { alarms } = await calls.admin.getStatus({});

  expect(alarms.map(({ reason, detail }) => `${reason} ${detail}`)).toEqual(
    expect.arrayContaining([
      "browser-refused foreign-host: evil.example",
      `session-refused used-code: ${domain.operator.name}`,
    ]),
  );
});

/** Watches the proxies' progress under a session; resolves once it has begun to, to a promise of its end. */
async function watch(cookie: string): Promise<{ readonly ended: Promise<unknown> }> {
  const [host, port] = own.split(":");
  const headers = { cookie, origin: `http://${own}`, "content-type": "application/connect+json" };
  const path = "/troth.v1.Admin/WatchProgress";
  const begun = Promise.withResolvers<unknown>();
  const ended = Promise.withResolvers<unknown>();
  const request = http.request({ host, port, path, method: "POST", headers, agent: false }, (response) => {
    response.on("data", begun.resolve);
    response.on("error", () => {});
    response.on("close", ended.resolve);
  });
  request.on("error", ended.resolve);
  request.end(Buffer.from([0, 0, 0, 0, 2, 0x7b, 0x7d]));
  await begun.promise;
  return { ended: ended.promise };
}

it("ends a session and what it reads at once when the key is removed", async () => {
  const leaver = await putPerson(domain, running, { role: "auditor", person: "leaver" });
  const cookie = await signIn(leaver);
  const { ended } = await watch(cookie);

  await putAsOperator(domain, running.writer, { kind: "key.remove", body: { name: leaver.name } });

  await ended;
  expect((await post("GetStatus", cookie)).body).toContain("key-removed");
});

it("ends what a session reads at once when its holder ends it", async () => {
  const auditor = await putPerson(domain, running, { role: "auditor", person: "ada" });
  const cookie = await signIn(auditor);
  const { ended } = await watch(cookie);
  using calls = await adminAs(running, auditor);
  const [session] = (await calls.admin.listSessions({})).sessions;

  await calls.admin.endSession({ id: session?.id ?? "" });

  await ended;
  expect((await post("GetStatus", cookie)).body).toContain("ended");
});

it("ends what a session reads when its time is up, at the next growth of the log", async () => {
  const auditor = await putPerson(domain, running, { role: "auditor", person: "otto" });
  const cookie = await signIn(auditor);
  const { ended } = await watch(cookie);
  clock.advanceSeconds(8 * 3600 + 1);

  await putEpoch(running, 10);

  await ended;
  expect((await post("GetStatus", cookie)).body).toContain("too-old");
});
