import { anyUnpack } from "@bufbuild/protobuf/wkt";
import { afterEach, beforeEach, expect, it } from "vitest";
import type { MeshInProcess } from "../../../test/apparatus/mesh-in-process.ts";
import type { WorkloadClient } from "../../../test/apparatus/workload-client.ts";
import {
  connectTo,
  foundWorkloadMesh,
  putWorkload,
  reader,
  refusalOf,
} from "../../../test/apparatus/workload-mesh.ts";
import { textOf } from "../../base/bytes.ts";
import { type DiscoveryResponse, type Secret, SecretSchema } from "../../protocol/index.ts";

const id = "spiffe://test.example/shop/payments";
const domain = "spiffe://test.example";
let mesh: MeshInProcess;
let client: WorkloadClient;

beforeEach(async () => {
  mesh = await foundWorkloadMesh();
  await putWorkload(mesh, "payments");
  client = connectTo(mesh);
});

afterEach(async () => {
  client[Symbol.dispose]();
  await mesh[Symbol.asyncDispose]();
});

/** An Envoy's half of a stream: what it sends, when it says so. */
class Requests {
  readonly #queue: object[] = [];
  #wake = Promise.withResolvers<void>();

  send(request: object): void {
    this.#queue.push(request);
    this.#wake.resolve();
  }

  async *[Symbol.asyncIterator](): AsyncGenerator<object> {
    for (;;) {
      yield* this.#queue.splice(0);
      await this.#wake.promise;
      this.#wake = Promise.withResolvers<void>();
    }
  }
}

function openStream(first: object): { requests: Requests; next: () => Promise<DiscoveryResponse> } {
  const requests = new Requests();
  requests.send(first);
  return { requests, next: reader(client.secrets.streamSecrets(requests)) };
}

function secretsOf({ resources }: DiscoveryResponse): Secret[] {
  return resources.flatMap((any) => anyUnpack(any, SecretSchema) ?? []);
}

function namesOf(response: DiscoveryResponse): string[] {
  return secretsOf(response).map(({ name, type }) => `${name} ${type.case}`);
}

it.each([
  [[id], [`${id} tlsCertificate`]],
  [["default"], ["default tlsCertificate"]],
  [[domain], [`${domain} validationContext`]],
  [
    ["ROOTCA", "ALL"],
    ["ALL validationContext", "ROOTCA validationContext"],
  ],
  [[], [`${id} tlsCertificate`, `${domain} validationContext`]],
  [["default", "file-root:system"], ["default tlsCertificate"]],
] as const)("answers who asks for %j with %j", async (resourceNames, expected) => {
  const fetched = await client.secrets.fetchSecrets({ resourceNames: [...resourceNames] });
  const { next } = openStream({ resourceNames });

  expect(namesOf(fetched)).toEqual(expected);
  expect(namesOf(await next())).toEqual(expected);
});

it("gives certificate and key as PEM", async () => {
  const [secret] = secretsOf(await client.secrets.fetchSecrets({ resourceNames: ["default"] }));

  const value = secret?.type.case === "tlsCertificate" ? secret.type.value : undefined;
  expect(textOf(value?.certificateChain?.specifier.value ?? new Uint8Array(0))).toMatch(
    /^-----BEGIN CERTIFICATE-----/,
  );
  expect(textOf(value?.privateKey?.specifier.value ?? new Uint8Array(0))).toMatch(
    /^-----BEGIN PRIVATE KEY-----/,
  );
});

it.each([
  [{ metadata: { disable_spiffe_cert_validation: true } }, false],
  [{ userAgentBuildVersion: { version: { majorNumber: 1, minorNumber: 17 } } }, false],
  [{ userAgentBuildVersion: { version: { majorNumber: 1, minorNumber: 18 } } }, true],
  [{}, true],
])("keeps trust domains apart in an Envoy that can: %j", async (node, hasValidator) => {
  const [secret] = secretsOf(await client.secrets.fetchSecrets({ resourceNames: ["ROOTCA"], node }));

  const value = secret?.type.case === "validationContext" ? secret.type.value : undefined;
  expect(value?.customValidatorConfig?.name).toBe(
    hasValidator ? "envoy.tls.cert_validator.spiffe" : undefined,
  );
  expect(value?.trustedCa === undefined).toBe(hasValidator);
});

it("refuses names that the caller may not have, and other resources", async () => {
  expect(
    await refusalOf(client.secrets.fetchSecrets({ resourceNames: ["spiffe://test.example/shop/ledger"] })),
  ).toBe(
    'InvalidArgument: workload is not authorized for the requested identities ["spiffe://test.example/shop/ledger"]',
  );
  expect(await refusalOf(openStream({ resourceNames: ["no-such"] }).next())).toMatch(/^InvalidArgument: /);
  expect(await refusalOf(openStream({ typeUrl: "type.googleapis.com/other" }).next())).toBe(
    "InvalidArgument: there are no resources of type.googleapis.com/other here",
  );
});

it("serves DeltaSecrets to nobody", async () => {
  expect(await refusalOf(reader(client.secrets.deltaSecrets((async function* () {})()))())).toMatch(
    /^Unimplemented: /,
  );
});

it("says nothing to an Envoy that accepts or refuses, or whose answer is late, until there is another certificate", async () => {
  const { requests, next } = openStream({ resourceNames: ["default"] });
  const first = await next();
  const accepted = { resourceNames: ["default"], versionInfo: first.versionInfo, responseNonce: first.nonce };
  requests.send(accepted);
  requests.send({ ...accepted, errorDetail: { code: 13, message: "no" } });
  requests.send({ resourceNames: ["ROOTCA"], responseNonce: "ffffffff" });
  const second = next();
  const [certificate] = [...mesh.controlPlane.writer.state.certificates.entries()].map(([sha256]) => sha256);

  await mesh.put("svid.revoke", { certificate: certificate ?? "", reason: "superseded" });

  expect(namesOf(await second)).toEqual(["default tlsCertificate"]);
  expect((await second).versionInfo).not.toBe(first.versionInfo);
  expect(secretsOf(await second)).not.toEqual(secretsOf(first));
});

it("answers at once who asks for other names", async () => {
  const { requests, next } = openStream({ resourceNames: ["default"] });
  const { versionInfo, nonce: responseNonce } = await next();

  requests.send({ resourceNames: ["default", "ROOTCA"], versionInfo, responseNonce });

  expect(namesOf(await next())).toEqual(["ROOTCA validationContext", "default tlsCertificate"]);
});
