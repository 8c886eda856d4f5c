import { writeFile } from "node:fs/promises";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { missingForGoPeer } from "../../apparatus/go-peer.ts";
import { allow, type GrpcMesh, grpcMesh, interopTarget, openApart } from "../../apparatus/grpc-mesh.ts";
import { rawGrpcCall } from "../../apparatus/raw-grpc-call.ts";
import { troth } from "../../apparatus/running-mesh.ts";
import { type GrpcTarget, InteropClient } from "../../peers/grpc-js/interop-client.ts";
import { testMethod } from "../../peers/grpc-js/test-service.ts";
import { type Claim, failed, ok, skipped } from "../claim.ts";

const appEndMillisMax = 5_000;
/** An application that does not answer is out of the routes before. */
const everybodyKnowsMillis = 6_000;
const emptyCall = testMethod("EmptyCall");
const unaryCall = testMethod("UnaryCall");

/** Statuses as gRPC maps them from those of HTTP: 403 PERMISSION_DENIED, 404 UNIMPLEMENTED, 502, 503 and 504 UNAVAILABLE. */
const expectations = {
  denied: { status: "PERMISSION_DENIED", code: "7", says: "no rule allows /interop/js to call /interop/go" },
  unknown: { status: "UNIMPLEMENTED", code: "12", says: "/interop/nobody" },
  foreign: { status: "UNIMPLEMENTED", code: "12", says: "services are called as name.mesh" },
  unserved: { status: "UNAVAILABLE", code: "14", says: "nothing serves it now" },
  appDown: { status: "UNAVAILABLE", code: "14", says: "" },
} as const;
type Expected = (typeof expectations)[keyof typeof expectations];

export const claim: Claim = {
  text: "a gRPC call that the mesh refuses ends with the status that gRPC has for it, in trailers alone, with a message that says why",
  limitSeconds: 600,
  uses: [grpcMesh],
  run: async () => {
    const missing = missingForGoPeer("grpc-interop");
    if (missing !== undefined) return skipped(missing);
    const mesh = await grpcMesh.get();
    const refusals: (() => Promise<string | undefined>)[] = [
      () => denied(mesh),
      () => refused({ ...mesh.targetOf("js"), authority: "nobody.interop.mesh" }, expectations.unknown),
      () => refused({ ...mesh.targetOf("js"), authority: "localhost" }, expectations.foreign),
      () => unserved(mesh),
      () => appDown(mesh),
    ];
    for (const refusal of refusals) {
      const complaint = await refusal();
      if (complaint !== undefined) return failed(complaint);
    }
    return ok(`${refusals.length} kinds of refusal, each as @grpc/grpc-js sees it and on the wire`);
  },
};

/** A rule for one method allows that method and no other. */
async function denied({ mesh, servers, peers }: GrpcMesh): Promise<string | undefined> {
  const caller = servers.get("js");
  if (caller === undefined) return "the mesh has no /interop/js";
  const target = interopTarget(caller, "go");
  const before = await refused(target, expectations.denied);
  if (before !== undefined) return before;
  for (const peer of peers) {
    const seen = (await peer.call("large_unary", target)) ?? "OK";
    if (peer.name === "go" && !/PermissionDenied.*no rule allows/.test(seen))
      return `Go sees ${seen.slice(0, 200)}`;
    if (seen === "OK") return `${peer.name} may call without a rule`;
  }
  await allow(mesh, "/interop/js", "/interop/go", "--path", emptyCall.path);
  using client = new InteropClient(target);
  const allowed = await client.unary(emptyCall, {});
  if (allowed.status !== "OK") return `the allowed method ends with ${allowed.status} ${allowed.details}`;
  const other = await client.unary(unaryCall, { responseSize: 1 });
  return other.status === "PERMISSION_DENIED"
    ? undefined
    : `a method that no rule allows ends with ${other.status} ${other.details}`;
}

/** A service that is registered, and that nothing serves. */
async function unserved({ mesh, targetOf }: GrpcMesh): Promise<string | undefined> {
  const file = join(mesh.path, "unserved.yaml");
  const document = "apiVersion: troth/v1\nkind: Service\nmetadata: { name: /interop/unserved }\nspec: {}\n";
  await writeFile(file, document);
  const { code, stderr } = await troth(mesh.path, "apply", "-f", file);
  if (code !== 0) throw new Error(`troth apply ended with ${code}: ${stderr.trim()}`);
  return refused({ ...targetOf("js"), authority: "unserved.interop.mesh" }, expectations.unserved);
}

/** A service whose sidecar runs and whose application has just gone; then the same once everybody knows. */
async function appDown({ mesh, client }: GrpcMesh): Promise<string | undefined> {
  await using apart = await openApart(mesh, client, "down");
  apart.app.kill("SIGKILL");
  await apart.app.ended(appEndMillisMax);
  const atOnce = await refused(apart.target, expectations.appDown);
  if (atOnce !== undefined) return atOnce;
  await sleep(everybodyKnowsMillis);
  return await refused(apart.target, expectations.appDown);
}

/** Makes a call that is to be refused, with a gRPC library and without. */
async function refused(target: GrpcTarget, expected: Expected): Promise<string | undefined> {
  using client = new InteropClient(target);
  const end = await client.unary(emptyCall, {});
  if (end.status !== expected.status || end.details === "" || !end.details.includes(expected.says))
    return `${target.authority}: ${end.status} "${end.details}", not ${expected.status} "…${expected.says}…"`;
  const raw = await rawGrpcCall(target, emptyCall.path);
  const isPlain = raw.httpStatus === 200 && raw.contentType.startsWith("application/grpc");
  const isRight = isPlain && raw.isTrailersOnly && raw.grpcStatus === expected.code && raw.bodyBytes === 0;
  // Printable ASCII, in which % begins a byte (gRPC over HTTP/2, "Status-Message").
  const isEncoded = /^([ -$&-~]|%[0-9A-F]{2})*$/.test(raw.grpcMessage);
  return isRight && isEncoded && decodeURIComponent(raw.grpcMessage) === end.details
    ? undefined
    : `${target.authority}: on the wire ${JSON.stringify(raw)}`;
}
