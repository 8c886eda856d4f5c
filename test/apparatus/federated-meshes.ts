import { writeFile } from "node:fs/promises";
import { join } from "node:path";
import { freePort } from "../../src/cli/free-port.ts";
import { temporaryFolder } from "../contracts/temporary-folder.ts";
import { openMesh, type RunningMesh, troth } from "./running-mesh.ts";

/** Two trust domains of real processes, each of which reads the other's bundle. */
export interface FederatedMeshes extends AsyncDisposable {
  readonly shop: RunningMesh;
  readonly bank: RunningMesh;
  /** https URLs of their bundle endpoints. */
  readonly shopUrl: string;
  readonly bankUrl: string;
}

/** Starts shop.example and bank.example and has each federate with the other over https_spiffe. */
export async function openFederatedMeshes(): Promise<FederatedMeshes> {
  await using stack = new AsyncDisposableStack();
  const folder = stack.use(await temporaryFolder()).path;
  const ports = [await freePort(), await freePort()];
  const [shop, bank] = await Promise.all(
    ["shop.example", "bank.example"].map(async (trustDomain, place) => {
      const endpoint = ["--bundle-endpoint", `127.0.0.1:${ports[place]}`];
      return stack.use(
        await openMesh({
          kind: "up",
          requestTokens: "off",
          args: ["--trust-domain", trustDomain, ...endpoint],
        }),
      );
    }),
  );
  if (shop === undefined || bank === undefined) throw new Error("two meshes, one of them missing");
  const [shopUrl, bankUrl] = [`https://127.0.0.1:${ports[0]}/`, `https://127.0.0.1:${ports[1]}/`];
  await federate(shop, { with: bank, url: bankUrl, folder });
  await federate(bank, { with: shop, url: shopUrl, folder });
  const running = stack.move();
  return { shop, bank, shopUrl, bankUrl, [Symbol.asyncDispose]: () => running.disposeAsync() };
}

async function federate(
  mesh: RunningMesh,
  other: { readonly with: RunningMesh; readonly url: string; readonly folder: string },
): Promise<void> {
  const { trustDomain } = other.with.domain;
  const file = join(other.folder, `${trustDomain}.json`);
  await writeFile(file, await said(other.with, "federation", "show"));
  const id = `spiffe://${trustDomain}/troth/bundle-endpoint`;
  const place = ["--url", other.url, "--endpoint-id", id, "--bundle", file];
  await said(mesh, "federation", "add", trustDomain, ...place);
}

/** What `troth` prints; throws what it says where it fails. */
export async function said({ path }: RunningMesh, ...args: readonly string[]): Promise<string> {
  const { code, stdout, stderr } = await troth(path, ...args);
  if (code !== 0) throw new Error(`troth ${args.join(" ")}: ${code}: ${stderr.trim()}`);
  return stdout;
}
