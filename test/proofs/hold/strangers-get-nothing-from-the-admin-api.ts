import { hostAndPort } from "../../../src/node-agent/index.ts";
import { type BrowserRequest, plainRequest, secureRequest } from "../../apparatus/browser-request.ts";
import { admit, founderOf, handMadeEntry, kindsFrom, type Person } from "../../apparatus/person.ts";
import { openMesh, type RunningMesh, statusOf } from "../../apparatus/running-mesh.ts";
import { type AdminCalls, adminAs, firstOf, outcomeOf } from "../../fakes/people.ts";
import { signerNamed } from "../../fakes/small-trust-log.ts";
import { type Claim, failed, ok } from "../claim.ts";

/** Somebody tries something; what came of it and what should. */
interface Attempt {
  readonly what: string;
  readonly outcome: string;
  readonly expected: RegExp;
}

export const claim: Claim = {
  text: "strangers, viewers who write, removed operators and web pages get nothing from the admin API: each is refused with a reason, those whom a person could stop are alarmed, and the log has no entry more",
  run: async () => {
    await using mesh = await openMesh({ kind: "up" });
    await using viewer = await admit(mesh, { role: "viewer", person: "vic" });
    await using leaver = await admit(mesh, { role: "operator", person: "lee" });
    const founder = await founderOf(mesh);
    const leaverSession = await signIn(leaver);
    const removed = await founder.troth("operator", "remove", "lee");
    if (removed.code !== 0) return failed(`operator remove: ${removed.stderr}`);
    const { treeSize } = await statusOf(mesh.path);

    const attempts = [
      ...(await strangersTry(mesh, leaver)),
      ...(await viewerTries(mesh, viewer)),
      ...(await pagesTry(mesh)),
      ...(await browsersTry(founder, leaverSession)),
    ];

    const through = attempts.filter(({ outcome, expected }) => !expected.test(outcome));
    if (through.length > 0)
      return failed(through.map(({ what, outcome }) => `${what}: ${outcome}`).join("; "));
    const added = (await kindsFrom(mesh, treeSize)).filter((kind) => kind !== "epoch");
    if (added.length > 0) return failed(`the log has ${added.join(", ")} more`);
    const { alarms } = await statusOf(mesh.path);
    const missing = [
      /^call-refused \w+ by a caller without a key: no-certificate/,
      /^call-refused \w+ by key [0-9a-f]{16}: unknown-key/,
      /^call-refused Append by mesh.internal\/viewer\/vic, key [0-9a-f]{16}: wrong-role/,
      /^browser-refused foreign-host: evil.example/,
      /^browser-refused foreign-origin: https:\/\/evil.example/,
      /^session-refused used-code: mesh.internal\/operator\/founder/,
      /^session-refused key-removed: mesh.internal\/operator\/lee/,
    ].filter((wanted) => !alarms.some(({ reason, detail }) => wanted.test(`${reason} ${detail}`)));
    return missing.length === 0
      ? ok(
          `${attempts.length} attempts, ${attempts.length} refused, 7 of 7 kinds of alarms raised, 0 entries`,
        )
      : failed(`no alarm like ${missing.join(", ")}`);
  },
};

const callNames = [
  "getStatus",
  "readLog",
  "watchProgress",
  "listProposals",
  "openSession",
  "listSessions",
  "endSession",
  "append",
  "propose",
  "approve",
  "withdrawProposal",
] as const;

function callWith(
  { admin }: AdminCalls,
  name: (typeof callNames)[number],
  entry: Uint8Array,
): Promise<string> {
  switch (name) {
    case "readLog":
      return outcomeOf(firstOf(admin.readLog({})));
    case "watchProgress":
      return outcomeOf(firstOf(admin.watchProgress({})));
    case "append":
      return outcomeOf(admin.append({ entries: [entry] }));
    case "propose":
      return outcomeOf(admin.propose({ entry }));
    case "approve":
      return outcomeOf(admin.approve({ entry }));
    default:
      return outcomeOf(admin[name]({}));
  }
}

const rule = {
  kind: "rule.put",
  body: { from: "/mallory", to: "/shop/ledger", effect: "allow", methods: [], paths: [] },
};

/** Every call without a key, with a key that the log does not have, and with one that was removed. */
async function strangersTry(mesh: RunningMesh, leaver: Person): Promise<Attempt[]> {
  const attempts: Attempt[] = [];
  const mallory = signerNamed("mesh.internal/operator/mallory");
  for (const [who, key, expected] of [
    ["no key", undefined, /^Unauthenticated no-certificate/],
    ["an unknown key", mallory, /^Unauthenticated unknown-key/],
    ["a removed operator", leaver.key, /^Unauthenticated unknown-key/],
  ] as const) {
    using calls = await adminAs(hostAndPort(mesh.domain.address), key);
    const entry = await handMadeEntry(mesh, [key ?? mallory], rule);
    for (const name of callNames)
      attempts.push({ what: `${name} with ${who}`, outcome: await callWith(calls, name, entry), expected });
  }
  return attempts;
}

async function viewerTries(mesh: RunningMesh, viewer: Person): Promise<Attempt[]> {
  using calls = await viewer.calls();
  const entry = await handMadeEntry(mesh, [viewer.key], rule);
  const attempts: Attempt[] = [];
  for (const name of ["append", "propose", "approve", "withdrawProposal"] as const)
    attempts.push({
      what: `${name} by a viewer`,
      outcome: await callWith(calls, name, entry),
      expected: /^PermissionDenied wrong-role/,
    });
  const { code, stderr } = await viewer.troth("allow", "/mallory", "/shop/ledger");
  const outcome = `${code} ${stderr}`;
  return [
    ...attempts,
    { what: "troth allow by a viewer", outcome, expected: /^1 [^]*is written by role operator/ },
  ];
}

/** What a page can make a browser send to the listener for agents and operators. */
async function pagesTry(mesh: RunningMesh): Promise<Attempt[]> {
  const { address } = mesh.domain;
  const path = "/troth.v1.Admin/Append";
  const type = { "content-type": "application/json" };
  const pages: readonly (readonly [string, BrowserRequest])[] = [
    [
      "rebinding",
      { method: "POST", path, headers: { ...type, ":authority": `evil.example:${address.split(":")[1]}` } },
    ],
    ["a page elsewhere", { method: "POST", path, headers: { ...type, origin: "https://evil.example" } }],
    [
      "a simple POST",
      { method: "POST", path, headers: { "content-type": "text/plain", "sec-fetch-site": "cross-site" } },
    ],
    [
      "a preflight",
      {
        method: "OPTIONS",
        path,
        headers: { origin: "https://evil.example", "access-control-request-method": "POST" },
      },
    ],
    ["a link", { path, headers: { "sec-fetch-site": "cross-site" } }],
    ["the address bar", { path: "/", headers: {} }],
  ];
  const attempts: Attempt[] = [];
  for (const [what, request] of pages) {
    // The authority that our own clients name, where the page's is not the point.
    const headers = {
      ":authority": what === "the address bar" ? address : "mesh.internal",
      ...request.headers,
    };
    const status = await secureRequest(address, { ...request, headers });
    attempts.push({ what: `${what} at the RPC listener`, outcome: String(status), expected: /^403$/ });
  }
  return attempts;
}

/** What a page, or the holder of an old cookie or link, can send to the listener for browsers. */
async function browsersTry(founder: Person, leaverSession: SignedIn): Promise<Attempt[]> {
  const { address, cookie, link } = await signIn(founder);
  const own = { host: address, origin: `http://${address}`, "content-type": "application/json" };
  const path = "/troth.v1.Admin/GetStatus";
  const post = (headers: Readonly<Record<string, string>>, at = path): BrowserRequest => ({
    method: "POST",
    path: at,
    headers: { ...own, cookie, ...headers },
    body: "{}",
  });
  // Else all that follows could be refused for another reason than the one in question.
  const good = await plainRequest(address, post({}));
  if (good.status !== 200) throw new Error(`a good session gets ${good.status} ${good.body}`);
  const evil = { origin: "https://evil.example", "sec-fetch-site": "cross-site" };
  const tries: readonly (readonly [string, BrowserRequest, RegExp])[] = [
    ["rebinding", post({ host: "evil.example", origin: "http://evil.example" }), /^403 .*foreign-host/],
    ["a page elsewhere", post(evil), /^403 .*foreign-origin/],
    [
      "a link on a page elsewhere",
      { path: "/", headers: { host: address, "sec-fetch-site": "cross-site" } },
      /^403 .*foreign-page/,
    ],
    ["a simple POST", post({ "content-type": "text/plain" }), /^415 /],
    ["a preflight", { ...post(evil), method: "OPTIONS" }, /^403 /],
    ["no cookie", post({ cookie: "" }), /^401 /],
    ["a guessed cookie", post({ cookie: `troth-session=${"A".repeat(43)}` }), /^401 /],
    ["a replayed link", { path: link, headers: { host: address } }, /^403 .*used-code/s],
    ["a session after its key was removed", post({ cookie: leaverSession.cookie }), /^401 .*key-removed/s],
    ...["Append", "Propose", "Approve", "WithdrawProposal", "OpenSession", "ListSessions", "EndSession"].map(
      (call) => [`${call} under a session`, post({}, `/troth.v1.Admin/${call}`), /^404 /] as const,
    ),
  ];
  const attempts: Attempt[] = [];
  for (const [what, request, expected] of tries) {
    const answer = await plainRequest(address, request);
    const isReadable = Object.keys(answer.headers).some((name) => name.startsWith("access-control"));
    const outcome = `${answer.status} ${answer.body}${isReadable ? " readable elsewhere" : ""}`;
    attempts.push({ what: `${what} at the listener for browsers`, outcome, expected });
  }
  return attempts;
}

interface SignedIn {
  readonly address: string;
  readonly cookie: string;
  /** The path of the link that was used. */
  readonly link: string;
}

async function signIn(person: Person): Promise<SignedIn> {
  const { code, stdout, stderr } = await person.troth("session", "open");
  if (code !== 0) throw new Error(`troth session open: ${stderr}`);
  const { host: address, pathname: link } = new URL(stdout.trim());
  const answer = await plainRequest(address, { path: link, headers: { host: address } });
  return { address, link, cookie: answer.headers["set-cookie"]?.[0]?.split(";")[0] ?? "" };
}
