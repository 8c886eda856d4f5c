import { writeFile } from "node:fs/promises";
import { join } from "node:path";
import type { TokenObject } from "../../../src/crypto/index.ts";
import { openClusterApi } from "../../apparatus/cluster-api.ts";
import type { FoundingOptions } from "../../apparatus/mesh-in-process.ts";
import {
  accountClaims,
  accountToken,
  type ClusterKey,
  clusterIssuer,
  clusterKey,
} from "../../apparatus/service-account-tokens.ts";
import {
  connectTo,
  foundWorkloadMesh,
  putWorkload,
  reader,
  refusalOf,
} from "../../apparatus/workload-mesh.ts";
import { temporaryFolder } from "../../contracts/temporary-folder.ts";
import { type Claim, failed, ok, skipped } from "../claim.ts";

const refusal = "PermissionDenied: no identity issued";
const identity = "spiffe://test.example/shop/payments";
const audience = "https://kubernetes.default.svc";
const endpoints = [{ kind: "tcp" as const, host: "127.0.0.1", port: 0 }];
const podOfDeleted = "4a1d3a6e-0000-4000-8000-00000000dead";

/** By what pods are known. */
interface Way {
  readonly name: string;
  readonly kubernetes: NonNullable<NonNullable<FoundingOptions["workloads"]>["kubernetes"]>;
}

/** A token that a caller shows, and whether each way of knowing pods takes it for a pod of shop/payments. */
interface Case {
  readonly what: string;
  readonly token: string;
  /** By the cluster's keys, and where its API is asked. */
  readonly signed: boolean;
  readonly reviewed: boolean;
}

/** The caller is this process, which has the token that the case gives it where pods have theirs. */
export const claim: Claim = {
  text: "a pod gets what its namespace and account may have, by the cluster's keys, by TokenReview and by both; expired, foreign, forged and (where the cluster is asked) revoked tokens get nothing",
  run: async () => {
    if (process.platform !== "linux") return skipped("telling who calls takes Linux");
    await using stack = new AsyncDisposableStack();
    const key = clusterKey("cluster");
    const api = stack.use(await openClusterApi(key));
    api.deleted.add(podOfDeleted);
    const folder = stack.use(await temporaryFolder()).path;
    const signer = {
      issuer: clusterIssuer,
      keys: { kind: "url" as const, url: api.keysUrl, authorities: api.ca },
    };
    const review = { url: api.url, authorities: api.ca, tokenFile: api.tokenFile };
    const ways: readonly Way[] = [
      { name: "keys", kubernetes: { signer, audience } },
      { name: "TokenReview", kubernetes: { review, audience } },
      { name: "both", kubernetes: { signer, review, audience } },
    ];
    // At the same time: a refused caller is held for 3 s, since its entry may be on its way.
    const found = await Promise.all(ways.map((way) => tryOut(way, join(folder, way.name), key)));
    const wrong = found.find((one) => typeof one === "string");
    if (wrong !== undefined) return failed(wrong);
    const counts = found.filter((one) => typeof one !== "string");
    const sum = (of: "served" | "refused"): number => counts.reduce((total, one) => total + one[of], 0);
    return ok(
      `${sum("served")} calls served and ${sum("refused")} refused in ${ways.length} ways, with ${api.reviews} reviews`,
    );
  },
};

/** Asks with each token in turn; what went wrong, or how many there were. */
async function tryOut(
  { name, kubernetes }: Way,
  tokenPath: string,
  key: ClusterKey,
): Promise<string | { readonly served: number; readonly refused: number }> {
  const workloads = { endpoints, idleMillis: 100, kubernetes: { ...kubernetes, tokenPath } };
  await using mesh = await foundWorkloadMesh({ workloads });
  await putWorkload(mesh, "payments", { selectors: ["k8s:ns:shop", "k8s:sa:payments"] });
  const counts = { served: 0, refused: 0 };
  for (const { what, token, signed, reviewed } of casesOf(key)) {
    await writeFile(tokenPath, token);
    using client = connectTo(mesh);
    const asked = reader(client.api.fetchX509SVID({}))();
    const spiffeId = asked.then(({ svids }) => svids[0]?.spiffeId ?? "nobody");
    const said = await spiffeId.catch(() => refusalOf(asked));
    const isServed = name === "keys" ? signed : reviewed;
    if (said !== (isServed ? identity : refusal)) return `${what}, by ${name}: ${said}`;
    counts[isServed ? "served" : "refused"] += 1;
  }
  return counts;
}

function casesOf(key: ClusterKey): Case[] {
  const claims = claimsNow();
  const nowSeconds = Math.floor(Date.now() / 1000);
  const good = accountToken(key, claims);
  const [head = "", body = "", signature = ""] = good.split(".");
  const none = { signed: false, reviewed: false };
  const cluster = claims["kubernetes.io"];
  const pod = { name: "payments-7d9f", uid: podOfDeleted };
  const ofDeleted = { ...claims, "kubernetes.io": { ...(isObject(cluster) ? cluster : {}), pod } };
  return [
    { what: "a pod's token", token: good, signed: true, reviewed: true },
    { what: "another account's", token: accountToken(key, accountClaims(nowSeconds, "orders")), ...none },
    { what: "one that has expired", token: accountToken(key, { ...claims, exp: nowSeconds - 60 }), ...none },
    { what: "one for a foreign audience", token: accountToken(key, { ...claims, aud: ["vault"] }), ...none },
    {
      what: "one by a stranger's key of the same name",
      token: accountToken(clusterKey("cluster"), claims),
      ...none,
    },
    {
      what: "one whose claims were exchanged",
      token: [head, bodyOf({ ...claims, jti: "x" }), signature].join("."),
      ...none,
    },
    { what: "one without its signature", token: `${head}.${body}.`, ...none },
    {
      what: "one of a pod that was deleted",
      token: accountToken(key, ofDeleted),
      signed: true,
      reviewed: false,
    },
  ];
}

function claimsNow(): TokenObject {
  return accountClaims(Date.now() / 1000);
}

function bodyOf(claims: TokenObject): string {
  return Buffer.from(JSON.stringify(claims)).toString("base64url");
}

function isObject(value: unknown): value is TokenObject {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}
