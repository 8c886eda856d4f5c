import { mkdir, rename, symlink, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { afterEach, beforeEach, expect, it } from "vitest";
import { temporaryFolder } from "../../test/contracts/temporary-folder.ts";
import { type GatewayFlags, GatewaySource, type LoadedGateway } from "./gateway-source.ts";

let folder: Awaited<ReturnType<typeof temporaryFolder>>;
let file: string;

beforeEach(async () => {
  folder = await temporaryFolder();
  file = join(folder.path, "gateway.yaml");
  await writeFile(file, gatewayText("/shop/web"));
  await mkdir(join(folder.path, "first"));
  await writeFile(join(folder.path, "first", "c.pem"), "certificate 1");
  await writeFile(join(folder.path, "first", "k.pem"), "key 1");
  await symlink("first", join(folder.path, "now"));
});

afterEach(() => folder[Symbol.asyncDispose]());

const flags = { service: "/edge/gateway", host: "*", pathPrefix: "/" };

it("reads a file and what it names, relative to where it is", async () => {
  const { service, settings } = await new GatewaySource({ ...flags, file }).load();

  expect(service).toBe("/edge/gate");
  expect(settings.listeners).toEqual([
    {
      host: "::1",
      port: 8443,
      certificates: [{ file: join(folder.path, "now", "c.pem"), chainPem: "certificate 1", keyPem: "key 1" }],
    },
  ]);
  expect(settings.limits).toEqual({ connectionsPerAddressMax: 9, requestsPerAddressMax: 2_048 });
});

it("reads one route from flags", async () => {
  const { service, settings } = await load({ listen: "127.0.0.1:8080", to: "/shop/web" });

  expect(service).toBe("/edge/gateway");
  expect(settings.routes).toEqual([
    { hosts: ["*"], pathPrefix: "/", service: "/shop/web", isPrefixStripped: false },
  ]);
});

it.each<readonly [string, Partial<GatewayFlags>, RegExp]>([
  ["no place to listen", { to: "/a" }, /say where to listen/],
  ["a certificate without its key", { listen: "a:1", to: "/a", certificate: "c" }, /go together/],
  ["plain HTTP for the world", { listen: "0.0.0.0:80", to: "/a" }, /the command line:.*loopback only/],
  ["a file that is not there", { file: "/nowhere.yaml" }, /^no file \/nowhere\.yaml$/],
])("refuses %s", async (_, given, message) => {
  await expect(load(given)).rejects.toThrow(message);
});

it("names the place of a certificate that is not there", async () => {
  await rename(join(folder.path, "first", "k.pem"), join(folder.path, "first", "other.pem"));

  await expect(load({ file })).rejects.toThrow(
    /gateway\.yaml:5:\d+: spec\.listeners\[0\]\.tls\[0\]\.key: no file /,
  );
});

it("tells of a changed file, of a link that leads elsewhere, and of what it cannot read meanwhile", async () => {
  const source = new GatewaySource({ ...flags, file });
  await source.load();
  const heard: (LoadedGateway | Error)[] = [];
  let told = (): void => {};
  const next = (): Promise<void> =>
    new Promise((resolve) => {
      told = resolve;
    });
  using _watch = source.watch((loaded) => {
    heard.push(loaded);
    told();
    return Promise.resolve();
  });

  let told1 = next();
  await writeFile(file, "kind: [");
  await told1;
  told1 = next();
  await writeFile(file, gatewayText("/shop/other"));
  await told1;
  told1 = next();
  await mkdir(join(folder.path, "second"));
  await writeFile(join(folder.path, "second", "c.pem"), "certificate 2");
  await writeFile(join(folder.path, "second", "k.pem"), "key 2");
  await symlink("second", join(folder.path, "next"));
  await rename(join(folder.path, "next"), join(folder.path, "now"));
  await told1;

  const [broken, other, rotated] = heard;
  expect(broken).toBeInstanceOf(Error);
  expect(other).toMatchObject({ settings: { routes: [{ service: "/shop/other" }] } });
  expect(rotated).toMatchObject({ settings: { listeners: [{ certificates: [{ keyPem: "key 2" }] }] } });
}, 15_000);

function load(given: Partial<GatewayFlags>): Promise<LoadedGateway> {
  return new GatewaySource({ ...flags, ...given }).load();
}

function gatewayText(service: string): string {
  return `apiVersion: troth/v1
kind: Gateway
metadata: {name: /edge/gate}
spec:
  listeners: [{address: '[::1]:8443', tls: [{certificate: now/c.pem, key: now/k.pem}]}]
  routes: [{hosts: [shop.example], service: ${service}}]
  limits: {connectionsPerAddressMax: 9}
`;
}
