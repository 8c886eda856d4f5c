import { generateKeyPairSync, type KeyObject } from "node:crypto";
import { publicJwkOf, type TokenObject, writeCompactJws } from "../../src/crypto/index.ts";

/** The issuer of the cluster that tests have. */
export const clusterIssuer = "https://kubernetes.default.svc.cluster.local";

/** A key by which a cluster signs. */
export interface ClusterKey {
  readonly kid: string;
  readonly privateKey: KeyObject;
}

/** A new key on P-256. */
export function clusterKey(kid: string): ClusterKey {
  return { kid, privateKey: generateKeyPairSync("ec", { namedCurve: "P-256" }).privateKey };
}

/** The JWKS of a cluster that signs by these keys. */
export function keySetOf(...keys: readonly ClusterKey[]): string {
  const members = keys.map(({ kid, privateKey }) => ({ ...publicJwkOf(privateKey), kid, use: "sig" }));
  return JSON.stringify({ keys: members });
}

/** The claims of a token that Kubernetes projects into a pod of `shop/payments`, good for an hour. */
export function accountClaims(nowSeconds: number, serviceAccount = "payments"): TokenObject {
  const second = Math.floor(nowSeconds);
  return {
    aud: ["https://kubernetes.default.svc"],
    exp: second + 3_600,
    iat: second,
    nbf: second,
    iss: clusterIssuer,
    "kubernetes.io": {
      namespace: "shop",
      node: { name: "node-1", uid: "4a1d3a6e-0000-4000-8000-000000000001" },
      pod: { name: `${serviceAccount}-7d9f`, uid: "4a1d3a6e-0000-4000-8000-000000000002" },
      serviceaccount: { name: serviceAccount, uid: "4a1d3a6e-0000-4000-8000-000000000003" },
    },
    sub: `system:serviceaccount:shop:${serviceAccount}`,
  };
}

/** A token as a cluster signs it. */
export function accountToken({ kid, privateKey }: ClusterKey, claims: TokenObject): string {
  return writeCompactJws({ alg: "ES256", kid }, claims, privateKey);
}
