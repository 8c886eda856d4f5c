import { randomBytes, randomUUID } from "node:crypto";
import http2 from "node:http2";
import { type Client, Code, ConnectError, createClient } from "@connectrpc/connect";
import { afterAll, beforeAll, describe, expect, it, test, vi } from "vitest";
import { temporaryFolder } from "../../test/contracts/temporary-folder.ts";
import { fakeClock } from "../../test/fakes/fake-clock.ts";
import {
  foundSmallDomain,
  inviteNode,
  operatorEntry,
  putAsOperator,
  putNode,
  putService,
  type RunningControlPlane,
  runControlPlane,
  type SmallDomain,
} from "../../test/fakes/small-domain.ts";
import { keyTextOf, serviceBody, signerNamed } from "../../test/fakes/small-trust-log.ts";
import { bytesOf } from "../base/bytes.ts";
import { softwareVersion } from "../base/software-version.ts";
import { buildCertificateRequest, generateP256, publicKeyBytes, signEd25519 } from "../crypto/index.ts";
import { Admin, Admission, type Endpoint, Mesh, protocolVersion, type Update } from "../protocol/index.ts";
import { LogView, openRpcConnection, tlsIdentityOf } from "../transport/index.ts";
import { entryRevision, type NoteSigner, nodeJoinText, verifierKeyOf } from "../trust-log/index.ts";

const clock = fakeClock();
const open = new AsyncDisposableStack();
let domain: SmallDomain;
let running: RunningControlPlane;
let node: NoteSigner;
let otherNode: NoteSigner;
let removedOperator: NoteSigner;

beforeAll(async () => {
  const folder = open.use(await temporaryFolder());
  domain = await foundSmallDomain(folder.path, clock, { hasTokenKeys: true });
  running = open.use(await runControlPlane(domain, clock));
  const { writer } = running;
  node = await putNode(domain, writer, "edge-1");
  otherNode = await putNode(domain, writer, "edge-2");
  await putService(domain, writer, "/shop/web");
  removedOperator = signerNamed("example.org/operator/bob");
  const key = { name: "example.org/operator/bob", role: "operator", publicKey: keyTextOf(removedOperator) };
  await putAsOperator(domain, writer, { kind: "key.put", body: key });
  await putAsOperator(domain, writer, { kind: "key.remove", body: { name: "example.org/operator/bob" } });
});
afterAll(() => open.disposeAsync());

interface Calls extends Disposable {
  readonly mesh: Client<typeof Mesh>;
  readonly admission: Client<typeof Admission>;
  readonly admin: Client<typeof Admin>;
}

async function callsAs(signer?: NoteSigner): Promise<Calls> {
  const identity = signer === undefined ? {} : { identity: tlsIdentityOf(signer.privateKey, randomBytes) };
  const connection = await openRpcConnection({
    kind: "tls",
    host: "127.0.0.1",
    port: running.port,
    ...identity,
  });
  return {
    mesh: createClient(Mesh, connection.transport),
    admission: createClient(Admission, connection.transport),
    admin: createClient(Admin, connection.transport),
    [Symbol.dispose]: () => connection[Symbol.dispose](),
  };
}

/** What a call came to: "ok", or the code of its refusal. */
async function outcomeOf(call: Promise<unknown>): Promise<string> {
  try {
    await call;
    return "ok";
  } catch (error) {
    if (!(error instanceof ConnectError)) throw error;
    return Code[error.code];
  }
}

async function first(updates: AsyncIterable<Update>): Promise<Update | undefined> {
  for await (const update of updates) return update;
  return undefined;
}

const svidRequest = {
  service: "/shop/web",
  certificateRequest: buildCertificateRequest(generateP256().privateKey),
  auditKey: verifierKeyOf(signerNamed("example.org/audit/1")),
};

const callNames = [
  "follow",
  "issueSvid",
  "issueToken",
  "readRevocationLists",
  "handOnPrefix",
  "report",
  "readLog",
  "append",
  "getStatus",
  "prepareTokenKey",
  "readLogAsOperator",
] as const;

async function outcomesAs(
  signer: NoteSigner | undefined,
): Promise<Record<(typeof callNames)[number], string>> {
  using calls = await callsAs(signer);
  const { mesh, admission, admin } = calls;
  const instance = randomUUID();
  return {
    follow: await outcomeOf(first(mesh.follow({ protocolVersion }))),
    issueSvid: await outcomeOf(mesh.issueSvid({ ...svidRequest, instance })),
    issueToken: await outcomeOf(mesh.issueToken({ instance, audience: ["api"] })),
    readRevocationLists: await outcomeOf(mesh.readRevocationLists({})),
    handOnPrefix: await outcomeOf(mesh.handOnPrefix({})),
    report: await outcomeOf(mesh.report({})),
    readLog: await outcomeOf(first(admission.readLog({}))),
    append: await outcomeOf(admin.append({})),
    getStatus: await outcomeOf(admin.getStatus({})),
    prepareTokenKey: await outcomeOf(admin.prepareTokenKey({ use: "jwt-svid" })),
    readLogAsOperator: await outcomeOf(first(admin.readLog({}))),
  };
}

const no = "Unauthenticated";
const nothing = {
  follow: no,
  issueSvid: no,
  issueToken: no,
  readRevocationLists: no,
  handOnPrefix: no,
  report: no,
  append: no,
  getStatus: no,
  prepareTokenKey: no,
  readLogAsOperator: no,
};

const callers: readonly (readonly [string, () => NoteSigner | undefined, Record<string, string>])[] = [
  ["nobody in particular", () => undefined, { ...nothing, readLog: "ok" }],
  ["a stranger's key", () => signerNamed("mallory"), { ...nothing, readLog: "ok" }],
  ["the control plane's own log key", () => domain.keys.log, { ...nothing, readLog: "ok" }],
  ["the issuer's key", () => domain.keys.issuer, { ...nothing, readLog: "ok" }],
  ["an operator who was removed", () => removedOperator, { ...nothing, readLog: "ok" }],
  [
    "a node",
    () => node,
    {
      ...nothing,
      readLog: "ok",
      follow: "ok",
      issueSvid: "ok",
      issueToken: "ok",
      handOnPrefix: "PermissionDenied",
      readRevocationLists: "ok",
      report: "ok",
    },
  ],
  [
    "an operator",
    () => domain.operator,
    {
      ...nothing,
      readLog: "ok",
      append: "ok",
      getStatus: "ok",
      prepareTokenKey: "ok",
      readLogAsOperator: "ok",
    },
  ],
];

describe("who may call what", () => {
  test.each(callers)("%s", async (_who, signer, expected) => {
    expect(await outcomesAs(signer())).toEqual(expected);
  });

  it("an operator's connection does not order what another key signed", async () => {
    using calls = await callsAs(domain.operator);
    const forged = operatorEntry(
      { ...domain, operator: signerNamed("example.org/operator/alice") },
      running.writer.state,
      {
        kind: "service.put",
        body: serviceBody("/shop/forged"),
      },
    );

    expect(await outcomeOf(calls.admin.append({ entries: [forged] }))).toBe("PermissionDenied");
    expect(running.writer.state.services.has("/shop/forged")).toBe(false);
  });
});

describe("joining", () => {
  interface Joining {
    readonly invited: string;
    readonly joins: string;
    readonly as?: NoteSigner;
    readonly proofOver?: string;
    readonly seconds?: number;
  }

  async function join({ invited, joins, as, proofOver = joins, seconds = 600 }: Joining): Promise<string> {
    const invite = await inviteNode(domain, running.writer, { node: invited, seconds });
    const nodeKey = signerNamed(joins);
    return joinWith(invite, nodeKey, { joins, as: as ?? nodeKey, proofOver });
  }

  async function joinWith(
    invite: NoteSigner,
    nodeKey: NoteSigner,
    { joins, as, proofOver }: { joins: string; as: NoteSigner; proofOver: string },
  ): Promise<string> {
    using calls = await callsAs(as);
    const text = nodeJoinText(domain.anchor.genesis, proofOver, keyTextOf(nodeKey));
    return await outcomeOf(
      calls.admission.join({
        node: joins,
        inviteKey: publicKeyBytes(invite.publicKey),
        nodeKey: publicKeyBytes(nodeKey.publicKey),
        proof: signEd25519(invite.privateKey, bytesOf(text)),
      }),
    );
  }

  it("works once", async () => {
    const invite = await inviteNode(domain, running.writer, { node: "edge-3" });
    const [one, two] = [signerNamed("edge-3"), signerNamed("edge-3")];
    const how = { joins: "edge-3", proofOver: "edge-3" };

    expect(await joinWith(invite, one, { ...how, as: one })).toBe("ok");
    expect(await joinWith(invite, two, { ...how, as: two })).toBe("PermissionDenied");
    expect(running.writer.state.nodes.get("edge-3")?.nodeKey).toBe(keyTextOf(one));
  });

  test.each([
    ["as another node than was invited", { invited: "edge-4", joins: "edge-5" }, "PermissionDenied"],
    [
      "with a proof over another name",
      { invited: "edge-4", joins: "edge-4", proofOver: "x" },
      "PermissionDenied",
    ],
    ["with a key that TLS did not prove", { invited: "edge-4", joins: "edge-4", as: signerNamed("x") }, no],
  ])("is refused %s", async (_how, joining, outcome) => {
    expect(await join(joining)).toBe(outcome);
    expect(running.writer.state.nodes.has(joining.joins)).toBe(false);
  });

  it("is refused after the invitation has expired", async () => {
    const invite = await inviteNode(domain, running.writer, { node: "edge-6", seconds: 0 });
    const nodeKey = signerNamed("edge-6");
    const before = running.writer.state.genesis?.epochTimeSeconds ?? 0;
    const { writer } = running;
    await writer.write([
      {
        role: "sequencer",
        kind: "epoch",
        body: {
          number: (writer.state.genesis?.epochNumber ?? 0) + 1,
          size: writer.tree.size,
          timeSeconds: before + 1,
          stateDigest: writer.state.digest(),
          curatorDigest: null,
        },
      },
    ]);

    expect(await joinWith(invite, nodeKey, { joins: "edge-6", as: nodeKey, proofOver: "edge-6" })).toBe(
      "PermissionDenied",
    );
  });

  it("that is refused raises an alarm, and any number of them hides nobody else's", async () => {
    running.controlPlane.writer.onCheckpoint(() => {});
    using calls = await callsAs(node);
    await calls.mesh.report({ alarms: [{ reason: "entry-without-effect", detail: "entry 7" }] });
    using strangers = await callsAs();
    const nodeKey = signerNamed("x");
    using stranger = await callsAs(nodeKey);
    const request = {
      node: "x",
      inviteKey: new Uint8Array(32),
      nodeKey: publicKeyBytes(nodeKey.publicKey),
      proof: new Uint8Array(64),
    };

    for (let count = 0; count < 60; count += 1) {
      clock.advanceSeconds(1);
      await outcomeOf(stranger.admission.join(request));
    }

    using admin = await callsAs(domain.operator);
    const { alarms } = await admin.admin.getStatus({});
    expect(alarms.filter(({ reason }) => reason === "join-refused").length).toBeLessThanOrEqual(32);
    expect(alarms.map(({ reason }) => reason)).toContain("entry-without-effect");
    expect(await outcomeOf(first(strangers.admission.readLog({})))).toBe("ok");
  });
});

describe("limits", () => {
  it("lets newcomers call so often, whoever they are, and members all the same", async () => {
    using stranger = await callsAs();
    const outcomes = new Set<string>();
    for (let count = 0; count < 130; count += 1)
      outcomes.add(await outcomeOf(first(stranger.admission.readLog({}))));

    using member = await callsAs(node);
    const following = await outcomeOf(first(member.mesh.follow({ protocolVersion })));

    expect([...outcomes]).toEqual(["ok", "ResourceExhausted"]);
    expect(following).toBe("ok");
    clock.advanceSeconds(60);
    expect(await outcomeOf(first(stranger.admission.readLog({})))).toBe("ok");
  });

  it("issues so many certificates to a node, and to another node all the same", async () => {
    using calls = await callsAs(node);
    using others = await callsAs(otherNode);
    const request = { ...svidRequest, service: "/shop/none", instance: randomUUID() };
    const ask = (mesh: Calls["mesh"]): Promise<string> => outcomeOf(mesh.issueSvid(request));

    const outcomes = await Promise.all(Array.from({ length: 510 }, () => ask(calls.mesh)));

    expect(outcomes.filter((outcome) => outcome === "ResourceExhausted").length).toBeGreaterThan(0);
    expect(await ask(others.mesh)).toBe("PermissionDenied");
    clock.advanceSeconds(60);
  });

  it("issues so many tokens to a node, and to another node all the same", async () => {
    using calls = await callsAs(node);
    using others = await callsAs(otherNode);
    const ask = (mesh: Calls["mesh"]): Promise<string> =>
      outcomeOf(mesh.issueToken({ instance: randomUUID() }));

    const outcomes = await Promise.all(Array.from({ length: 510 }, () => ask(calls.mesh)));

    expect(outcomes.filter((outcome) => outcome === "ResourceExhausted").length).toBeGreaterThan(0);
    expect(await ask(others.mesh)).toBe("InvalidArgument");
    clock.advanceSeconds(60);
  });

  it("makes so many keys for tokens for a person, of the uses that there are", async () => {
    using calls = await callsAs(domain.operator);
    const ask = (use: string): Promise<string> => outcomeOf(calls.admin.prepareTokenKey({ use }));

    expect(await ask("x509-svid")).toBe("InvalidArgument");
    const outcomes = await Promise.all(Array.from({ length: 21 }, () => ask("wit-svid")));

    expect(new Set(outcomes)).toEqual(new Set(["ok", "ResourceExhausted"]));
    clock.advanceSeconds(200);
  });

  it("takes only so many entries, so many bytes and so many followers at once", async () => {
    using operator = await callsAs(domain.operator);
    using member = await callsAs(node);
    const many = { entries: Array.from({ length: 257 }, () => Uint8Array.of(1)) };
    const large = { entries: Array.from({ length: 20 }, () => new Uint8Array(65_000)) };
    const ended = { ended: Array.from({ length: 10_001 }, () => "x") };

    expect(await outcomeOf(operator.admin.append(many))).toBe("InvalidArgument");
    expect(await outcomeOf(operator.admin.append(large))).toBe("InvalidArgument");
    expect(await outcomeOf(member.mesh.report(ended))).toBe("InvalidArgument");
  });

  it("answers who claims to be ahead of the log, and goes on answering others", async () => {
    using member = await callsAs(node);
    const ahead = await first(member.mesh.follow({ protocolVersion, fromSize: 1_000_000n }));
    const impossible = await outcomeOf(
      first(member.mesh.follow({ protocolVersion, fromSize: 2n ** 64n - 1n })),
    );

    const status = await outcomeOf(member.mesh.report({}));

    expect(ahead?.content).toMatchObject({ case: "step", value: { entries: [] } });
    expect([impossible, status]).toEqual(["InvalidArgument", "ok"]);
  });

  it("refuses a protocol that is newer than its own", async () => {
    using member = await callsAs(node);

    expect(await outcomeOf(first(member.mesh.follow({ protocolVersion: protocolVersion + 1 })))).toBe(
      "FailedPrecondition",
    );
  });

  it("gives a node only so many streams, and their places back when they end", async () => {
    using member = await callsAs(node);
    const streams = new AbortController();
    const follow = (): AsyncIterator<Update> =>
      member.mesh.follow({ protocolVersion }, { signal: streams.signal })[Symbol.asyncIterator]();
    const followed = Array.from({ length: 16 }, follow);
    for (const stream of followed) await stream.next();

    expect(await outcomeOf(follow().next())).toBe("ResourceExhausted");
    streams.abort();

    await vi.waitFor(async () =>
      expect(await outcomeOf(first(member.mesh.follow({ protocolVersion })))).toBe("ok"),
    );
  });

  it("survives messages that are none", async () => {
    const session = http2.connect(`https://${running.address}`, { rejectUnauthorized: false });
    const send = (path: string, type: string, body: Uint8Array): Promise<unknown> =>
      new Promise((resolve) => {
        const headers = {
          ":method": "POST",
          ":path": path,
          ":authority": "mesh.internal",
          "content-type": type,
        };
        const stream = session.request(headers);
        stream.on("error", () => {});
        stream.on("close", resolve);
        stream.resume();
        stream.end(body);
      });
    const tooLong = Buffer.from([0, 0xff, 0xff, 0xff, 0xff, 1]);

    for (const path of [
      "/troth.v1.Admission/ReadLog",
      "/troth.v1.Admission/Join",
      "/troth.v1.Mesh/Follow",
      "/x",
    ])
      for (const type of [
        "application/grpc+proto",
        "application/json",
        "application/connect+json",
        "text/plain",
      ])
        for (const body of [new Uint8Array(0), tooLong, randomBytes(100), bytesOf("{")])
          await send(path, type, body);
    session.destroy();

    using member = await callsAs(node);
    expect(await outcomeOf(member.mesh.report({}))).toBe("ok");
  });
});

describe("reports and endpoints", () => {
  async function instanceOn(calls: Calls): Promise<string> {
    const instance = randomUUID();
    await calls.mesh.issueSvid({ ...svidRequest, instance });
    return instance;
  }

  async function endpointsAs(signer: NoteSigner): Promise<Endpoint[]> {
    using calls = await callsAs(signer);
    for await (const { content } of calls.mesh.follow({ protocolVersion }))
      if (content.case === "endpoints") return content.value.endpoints;
    return [];
  }

  it("believe a node about its own instances only, and the log about their service", async () => {
    using one = await callsAs(node);
    using two = await callsAs(otherNode);
    const [mine, theirs] = [await instanceOn(one), await instanceOn(two)];
    await two.mesh.report({ followers: [{ instance: theirs, service: "/shop/web", address: "10.0.0.2:1" }] });

    await one.mesh.report({
      followers: [
        { instance: mine, service: "/shop/payments", address: "10.0.0.1:1" },
        { instance: theirs, service: "/shop/web", address: "10.6.6.6:1" },
        { instance: randomUUID(), service: "/shop/web", address: "10.6.6.6:2" },
      ],
      ended: [theirs],
    });

    expect(running.writer.state.instances.has(theirs)).toBe(true);
    const endpoints = (await endpointsAs(node)).map(({ instance, service, address }) => [
      instance,
      service,
      address,
    ]);
    expect(endpoints).toContainEqual([mine, "/shop/web", "10.0.0.1:1"]);
    expect(endpoints).toContainEqual([theirs, "/shop/web", "10.0.0.2:1"]);
    expect(JSON.stringify(endpoints)).not.toContain("10.6.6.6");
  });

  it("end an instance for good when its own node says so", async () => {
    using one = await callsAs(node);
    const mine = await instanceOn(one);
    await one.mesh.report({ followers: [{ instance: mine, address: "10.0.0.1:9" }] });

    await one.mesh.report({ ended: [mine] });

    expect(running.writer.state.instances.has(mine)).toBe(false);
    expect((await endpointsAs(node)).map(({ instance }) => instance)).not.toContain(mine);
  });

  it("keep nothing that is no address, and nothing of any length", async () => {
    using one = await callsAs(node);
    using admin = await callsAs(domain.operator);
    const mine = await instanceOn(one);

    await one.mesh.report({
      followers: [
        { instance: mine, address: "x".repeat(1_000), adminAddress: "a b:1", outboundAddress: "[::1]:80" },
      ],
      alarms: [{ reason: "r".repeat(100_000), detail: "d".repeat(100_000) }],
    });

    const { followers, alarms } = await admin.admin.getStatus({});
    expect(followers.find(({ instance }) => instance === mine)).toMatchObject({
      address: "",
      adminAddress: "",
      outboundAddress: "[::1]:80",
    });
    expect(Math.max(...alarms.map(({ reason, detail }) => reason.length + detail.length))).toBeLessThan(600);
  });
});

it("tells a node that was removed, and then nothing more", async () => {
  const removed = await putNode(domain, running.writer, "edge-8");
  using calls = await callsAs(removed);
  const view = new LogView({ anchor: domain.anchor, clock });
  const ended = (async () => {
    for await (const update of calls.mesh.follow({ protocolVersion })) await view.take(update);
  })();
  await vi.waitFor(() => expect(view.follower.state.nodes.has("edge-8")).toBe(true));

  await putAsOperator(domain, running.writer, { kind: "node.remove", body: { node: "edge-8" } });

  expect(await outcomeOf(ended)).toBe(no);
  expect(view.follower.state.nodes.has("edge-8")).toBe(false);
});

it("does not hold a log in memory for followers that never read", async () => {
  const { writer } = running;
  const large = {
    ...serviceBody("/shop/large"),
    nodes: Array.from({ length: 256 }, (_, n) => `${"n".repeat(50)}-${n}`),
  };
  for (let batch = 0; batch < 8; batch += 1) {
    const entries = Array.from({ length: 60 }, (_, ahead) =>
      operatorEntry(domain, writer.state, { kind: "service.put", body: large, ahead }),
    );
    expect(await writer.submit(entries)).toMatchObject({ ok: true });
  }
  clock.advanceSeconds(60);
  const session = http2.connect(`https://${running.address}`, {
    rejectUnauthorized: false,
    settings: { initialWindowSize: 0 },
  });
  session.on("error", () => {});
  await new Promise((resolve) => session.once("remoteSettings", resolve));
  const headers = {
    ":method": "POST",
    ":path": "/troth.v1.Admission/ReadLog",
    ":authority": "mesh.internal",
    "content-type": "application/grpc+proto",
    te: "trailers",
  };
  const before = process.memoryUsage();

  for (let count = 0; count < 30; count += 1) {
    const stream = session.request(headers);
    stream.on("error", () => {});
    stream.end(new Uint8Array(5));
  }
  await new Promise((resolve) => setTimeout(resolve, 500));

  const after = process.memoryUsage();
  session.destroy();
  // The log has over 7 MB; thirty copies of it would be over 200.
  expect(after.arrayBuffers - before.arrayBuffers).toBeLessThan(100_000_000);
  // Two more than there would be places left, had those who went without reading kept theirs.
  clock.advanceSeconds(60);
  using stranger = await callsAs();
  await vi.waitFor(async () => {
    const reading = [1, 2, 3, 4].map(() => stranger.admission.readLog({})[Symbol.asyncIterator]());
    const outcomes = await Promise.all(reading.map((updates) => outcomeOf(updates.next())));
    for (const updates of reading) await updates.return?.();
    clock.advanceSeconds(1);
    expect(outcomes).toEqual(["ok", "ok", "ok", "ok"]);
  }, 10_000);
}, 30_000);

describe("an entry of a kind that a follower is too old for", () => {
  let older: RunningControlPlane;
  let small: SmallDomain;
  let agent: NoteSigner;
  const report = { agentSize: 1n, softwareVersion: "0.1.0", entryRevision };

  beforeAll(async () => {
    const folder = open.use(await temporaryFolder());
    small = await foundSmallDomain(folder.path, clock, { hasTokenKeys: true });
    older = open.use(await runControlPlane(small, clock));
    agent = await putNode(small, older.writer, "edge-1");
    await putService(small, older.writer, "/shop/web");
  });

  async function calling(signer: NoteSigner): Promise<Calls> {
    const identity = tlsIdentityOf(signer.privateKey, randomBytes);
    const target = { kind: "tls" as const, host: "127.0.0.1", port: older.port, identity };
    const connection = open.use(await openRpcConnection(target));
    return {
      mesh: createClient(Mesh, connection.transport),
      admission: createClient(Admission, connection.transport),
      admin: createClient(Admin, connection.transport),
      [Symbol.dispose]: () => connection[Symbol.dispose](),
    };
  }
  const zone = (name: string): Uint8Array =>
    operatorEntry(small, older.writer.state, { kind: "node.zone", body: { node: "edge-1", zone: name } });

  it("is not ordered before every follower has been heard of, nor while one is older: it is named", async () => {
    const operator = await calling(small.operator);
    const before = older.writer.newest?.size;

    await expect(operator.admin.append({ entries: [zone("a")] })).rejects.toThrow(
      /older-followers: node\.zone is newer .*: node agent of edge-1 \(not heard of yet/,
    );
    const { mesh } = await calling(agent);
    await mesh.report({ agentSize: 1n });
    await expect(operator.admin.append({ entries: [zone("a")] })).rejects.toThrow(
      /node agent of edge-1 \(an older version\)\. Replace .* or say --stop-older$/,
    );
    await mesh.report({ ...report, entryRevision: 1 });
    const [first, second] = [operatorEntry(small, older.writer.state, noticeable), zone("a")];
    await expect(operator.admin.append({ entries: [first, second] })).rejects.toThrow(
      /node agent of edge-1 \(version 0\.1\.0\)/,
    );

    expect(older.writer.newest?.size).toBe(before);
    expect(older.writer.state.services.has("/shop/new")).toBe(false);
  });

  it("is ordered where the operator says so, and once all are new enough", async () => {
    const operator = await calling(small.operator);

    await operator.admin.append({ entries: [zone("a")], mayStopFollowers: true });
    expect(older.writer.state.zones.get("edge-1")).toEqual({ zone: "a" });
    const { mesh } = await calling(agent);
    await mesh.report(report);
    await operator.admin.append({ entries: [zone("b")] });

    expect(older.writer.state.zones.get("edge-1")).toEqual({ zone: "b" });
    const { softwareVersion: version, nodes } = await operator.admin.getStatus({});
    expect([version, nodes[0]?.softwareVersion, nodes[0]?.entryRevision]).toEqual([
      softwareVersion,
      "0.1.0",
      entryRevision,
    ]);
  });

  it("is not approved either", async () => {
    const operator = await calling(small.operator);
    const { mesh } = await calling(agent);
    await mesh.report({});

    const approved = operator.admin.approve({ entry: zone("c") });

    await expect(approved).rejects.toThrow(/older-followers/);
    expect(await outcomeOf(operator.admin.approve({ entry: zone("c"), mayStopFollowers: true }))).toBe(
      "PermissionDenied",
    );
  });
});

const noticeable = { kind: "service.put", body: serviceBody("/shop/new") };
