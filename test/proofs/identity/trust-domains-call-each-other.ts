import { type FederatedMeshes, openFederatedMeshes, said } from "../../apparatus/federated-meshes.ts";
import { httpCall } from "../../apparatus/http-call.ts";
import { openService, type RunningService } from "../../apparatus/running-mesh.ts";
import { type Claim, failed, ok } from "../claim.ts";

/** Each has one service that is called by the other's, and callers of the same names as the other's callees. */
export const claim: Claim = {
  text: "two trust domains on one machine call each other through sidecars by foreign rules alone, local rules for services of the same names give nothing, and after the end of the relationship nothing gets through",
  run: async () => {
    await using meshes = await openFederatedMeshes();
    const { shop, bank } = meshes;
    await using web = await openService(shop, "/same/name");
    await using clerk = await openService(bank, "/same/name");
    await remote(meshes, web, clerk);

    // What holds for each domain's own service of that name is not meant for the other's.
    await said(shop, "allow", "/*", "/same/name");
    await said(bank, "allow", "/*", "/same/name");
    const byLocalRules = [await call(web, "bank.example"), await call(clerk, "shop.example")];
    await said(shop, "allow", "spiffe://bank.example/same/name", "/same/name");
    await said(bank, "allow", "spiffe://shop.example/*", "/same/name");
    const byForeignRules = [await call(web, "bank.example"), await call(clerk, "shop.example")];
    if (byLocalRules.join() !== "403,403") return failed(`by local rules: ${byLocalRules.join(", ")}`);
    if (byForeignRules.join() !== "200,200") return failed(`by foreign rules: ${byForeignRules.join(", ")}`);

    // Waits until every proxy has it.
    const ended = await said(shop, "federation", "remove", "bank.example");
    const last = await call(clerk, "shop.example");
    const back = await call(web, "bank.example");
    const after = `after the end: in ${last}, out ${back}`;
    if (last === 200 || back !== 404) return failed(after);
    const force = /in force in .*/.exec(ended)?.[0] ?? "";
    return ok(`both ways 200, local rules 403; the end ${force}, ${after}`);
  },
};

async function remote(
  { shop, bank }: FederatedMeshes,
  web: RunningService,
  clerk: RunningService,
): Promise<void> {
  const put = ["federation", "remote", "put"];
  await said(shop, ...put, "spiffe://bank.example/same/name", clerk.status.address);
  await said(bank, ...put, "spiffe://shop.example/same/name", web.status.address);
}

async function call({ outboundAddress }: RunningService, trustDomain: string): Promise<number> {
  const { status } = await httpCall({
    address: outboundAddress,
    path: "/",
    host: `name.same.${trustDomain}`,
  });
  return status;
}
