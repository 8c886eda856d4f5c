import http2 from "node:http2";
import { setTimeout as sleep } from "node:timers/promises";
import { missingForGoPeer } from "../../apparatus/go-peer.ts";
import { type GrpcMesh, grpcMesh, openApart } from "../../apparatus/grpc-mesh.ts";
import { requestHead } from "../../apparatus/raw-grpc-call.ts";
import type { RunningCommand } from "../../apparatus/running-command.ts";
import { InteropClient } from "../../peers/grpc-js/interop-client.ts";
import { payloadOf, testMethod } from "../../peers/grpc-js/test-service.ts";
import { type Claim, failed, ok, skipped } from "../claim.ts";

const effectMillisMax = 1_000;
const giveUpMillis = 10_000;
const longMicros = 60_000_000;
const deadlineMillis = 5_000;
const shortDeadlineMillis = 500;
const exchangesInTurn = 100;
const pauseMicros = 200_000;
const pausedAnswers = 5;

const duplex = testMethod("FullDuplexCall");
const output = testMethod("StreamingOutputCall");
const input = testMethod("StreamingInputCall");

/** Both servers print when a call begins, with the milliseconds that are left of its deadline, and when it is cancelled. */
export const claim: Claim = {
  text: "a gRPC call that is cancelled, runs out of time, or loses its client or server ends at both ends within a second, and its messages pass one by one",
  limitSeconds: 600,
  uses: [grpcMesh],
  run: async () => {
    const missing = missingForGoPeer("grpc-interop");
    if (missing !== undefined) return skipped(missing);
    const mesh = await grpcMesh.get();
    const seen: Observation[] = [];
    for (const { name } of mesh.peers) {
      seen.push(await deadlinePasses(mesh, name));
      seen.push(await messagesPassOneByOne(mesh, name));
      seen.push(await answersPassOneByOne(mesh, name));
      for (const way of waysToEnd) seen.push(await serverSeesTheEnd(mesh, name, way));
    }
    seen.push(await lostServerIsUnavailable(mesh));
    const complaint = seen.find(({ isRight }) => !isRight);
    return complaint === undefined ? ok(seen.map(({ text }) => text).join("; ")) : failed(complaint.text);
  },
};

interface Observation {
  readonly isRight: boolean;
  readonly text: string;
}

/** The server knows how long the client will wait, and that it waits for ever where it says nothing. */
async function deadlinePasses({ targetOf, servers }: GrpcMesh, name: string): Promise<Observation> {
  const events = new ServerEvents(servers, name);
  using client = new InteropClient(targetOf(name));
  await client.unary(testMethod("EmptyCall"), {}, { deadlineMillis });
  const [, left = "none"] = await events.next(/^begin \S+EmptyCall (\S+)$/);
  const isRight = Number(left) > 0 && Number(left) <= deadlineMillis;
  return { isRight, text: `${name}: ${left} of ${deadlineMillis} ms are left at the server` };
}

/** Each message is answered before the next is sent. */
async function messagesPassOneByOne({ targetOf }: GrpcMesh, name: string): Promise<Observation> {
  using client = new InteropClient(targetOf(name));
  const { send, next, finish, ended } = client.duplex(duplex);
  let answers = 0;
  for (let turn = 0; turn < exchangesInTurn; turn += 1) {
    send({ responseParameters: [{ size: 1 }], ...payloadOf(1) });
    if ((await next()) === undefined) break;
    answers += 1;
  }
  finish();
  await next();
  const { status } = await ended;
  const isRight = answers === exchangesInTurn && status === "OK";
  return { isRight, text: `${answers} of ${exchangesInTurn} turns, ${status}` };
}

/** What the server sends with pauses arrives with pauses. */
async function answersPassOneByOne({ targetOf }: GrpcMesh, name: string): Promise<Observation> {
  using client = new InteropClient(targetOf(name));
  const responseParameters = Array.from({ length: pausedAnswers }, () => ({
    size: 1,
    intervalUs: pauseMicros,
  }));
  const { next, ended } = client.serverStream(output, { responseParameters });
  const times: number[] = [];
  while ((await next()) !== undefined) times.push(performance.now());
  const { status } = await ended;
  const lastedMillis = (times.at(-1) ?? 0) - (times[0] ?? 0);
  const isRight = status === "OK" && lastedMillis > (pauseMicros / 1_000) * 2;
  return { isRight, text: `${times.length} answers over ${lastedMillis.toFixed(0)} ms, ${status}` };
}

/** How a call ends at the client while the server is busy with it. */
interface WayToEnd {
  readonly name: string;
  readonly status: string;
  /** Begins a call, resolves once the server has it, and ends it; the status that the client saw. */
  readonly end: (mesh: GrpcMesh, peer: string, hasBegun: () => Promise<unknown>) => Promise<string>;
}

const busy = { responseParameters: [{ size: 1, intervalUs: longMicros }] };

const waysToEnd: readonly WayToEnd[] = [
  {
    name: "cancelled",
    status: "CANCELLED",
    end: async ({ targetOf }, peer, hasBegun) => {
      using client = new InteropClient(targetOf(peer));
      const { cancel, ended } = client.serverStream(output, busy);
      await hasBegun();
      cancel();
      return (await ended).status;
    },
  },
  {
    name: "out of time",
    status: "DEADLINE_EXCEEDED",
    end: async ({ targetOf }, peer, hasBegun) => {
      using client = new InteropClient(targetOf(peer));
      const { ended } = client.serverStream(output, busy, { deadlineMillis: shortDeadlineMillis });
      await hasBegun();
      return (await ended).status;
    },
  },
  {
    name: "without its client",
    status: "gone",
    end: async ({ targetOf }, peer, hasBegun) => {
      const target = targetOf(peer);
      const session = http2.connect(`http://${target.address}`);
      session.on("error", () => {});
      const stream = session.request(requestHead(target, input.path));
      stream.on("error", () => {});
      await hasBegun();
      session.destroy();
      return "gone";
    },
  },
];

/** The server stops working for a client that does not wait any more. */
async function serverSeesTheEnd(mesh: GrpcMesh, name: string, way: WayToEnd): Promise<Observation> {
  const events = new ServerEvents(mesh.servers, name);
  const seen = await way.end(mesh, name, () => events.next(/^begin /));
  const endedMillis = performance.now();
  await events.next(/^cancelled /);
  const millis = performance.now() - endedMillis;
  const isRight = seen === way.status && millis <= effectMillisMax;
  return { isRight, text: `${name}: ${way.name} (${seen}) at the server ${millis.toFixed(0)} ms later` };
}

/** A server that is killed in the middle: what it sent stays, and nothing looks like success. */
async function lostServerIsUnavailable({ mesh, client }: GrpcMesh): Promise<Observation> {
  await using apart = await openApart(mesh, client, "fragile");
  using caller = new InteropClient(apart.target);
  const responseParameters = Array.from({ length: 1_000 }, () => ({ size: 1_000, intervalUs: 10_000 }));
  const answering = caller.serverStream(output, { responseParameters });
  const listening = caller.clientStream(input);
  listening.send(payloadOf(1_000));
  for (let answer = 0; answer < 3; answer += 1) await answering.next();
  apart.app.kill("SIGKILL");
  const killedMillis = performance.now();
  while ((await answering.next()) !== undefined);
  const ends = await Promise.all([answering.ended, listening.ended]);
  const millis = performance.now() - killedMillis;
  const statuses = ends.map(({ status }) => status);
  const isRight =
    statuses.every((status) => status === "UNAVAILABLE") &&
    ends[1].response === undefined &&
    millis <= effectMillisMax;
  return { isRight, text: `killed server: ${statuses.join(", ")} ${millis.toFixed(0)} ms later` };
}

/** What the server behind a sidecar prints from now on. */
class ServerEvents {
  readonly #command: RunningCommand;
  #read: number;

  constructor(servers: GrpcMesh["servers"], name: string) {
    const server = servers.get(name);
    if (server === undefined) throw new Error(`the mesh has no /interop/${name}`);
    this.#command = server.command;
    this.#read = this.#command.stdout.length;
  }

  /** The next line that is so; throws when none came in time. */
  async next(pattern: RegExp): Promise<RegExpExecArray> {
    const deadline = performance.now() + giveUpMillis;
    for (;;) {
      const lines = this.#command.stdout.slice(this.#read).split("\n");
      // The last one may not be whole yet.
      for (const line of lines.slice(0, -1)) {
        this.#read += line.length + 1;
        const found = pattern.exec(line);
        if (found !== null) return found;
      }
      if (performance.now() > deadline) throw new Error(`the server did not print ${pattern}`);
      await sleep(5);
    }
  }
}
