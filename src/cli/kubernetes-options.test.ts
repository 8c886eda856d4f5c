import { expect, it } from "vitest";
import { kubernetesFlags, requireKubernetes } from "./kubernetes-options.ts";

const k8sIssuer = "https://cluster.example";

it("reads a URL, and hands the flags on as they are", async () => {
  const flags = { k8sIssuer, k8sJwks: "http://127.0.0.1:8001/openid/v1/jwks", k8sAudience: "troth" };

  expect(await requireKubernetes(flags)).toEqual({
    signer: { issuer: k8sIssuer, keys: { kind: "url", url: "http://127.0.0.1:8001/openid/v1/jwks" } },
    audience: "troth",
  });
  expect(kubernetesFlags(flags)).toEqual([
    "--k8s-issuer",
    k8sIssuer,
    "--k8s-jwks",
    "http://127.0.0.1:8001/openid/v1/jwks",
    "--k8s-audience",
    "troth",
  ]);
  expect(await requireKubernetes({})).toBeUndefined();
  expect((await requireKubernetes({ k8sIssuer, k8sJwks: "/etc/jwks.json" }))?.signer?.keys).toEqual({
    kind: "file",
    path: "/etc/jwks.json",
  });
});

it.each([
  [{ k8sIssuer }, "--k8s-issuer and --k8s-jwks go together"],
  [{ k8sAudience: "troth" }, "--k8s-issuer and --k8s-jwks, or --k8s-review"],
  [
    { k8sReview: "https://cluster.example" },
    "--k8s-review, --k8s-review-ca and --k8s-review-token go together",
  ],
  [
    { k8sReview: "http://127.0.0.1:8001", k8sReviewCa: "ca.pem", k8sReviewToken: "token" },
    "--k8s-review takes the https URL",
  ],
  [
    { k8sReview: "https://cluster.example", k8sReviewCa: "/dev/null", k8sReviewToken: "token" },
    "--k8s-review-ca takes CA certificates",
  ],
  [{ k8sIssuer: "", k8sJwks: "keys.json" }, "take a text that is not empty"],
  [{ k8sIssuer, k8sJwks: "http://cluster.example/jwks" }, "--k8s-jwks takes a file, an https URL"],
  [{ k8sIssuer, k8sJwks: "http://127.0.0.1.example/jwks" }, "--k8s-jwks takes a file, an https URL"],
  [{ k8sIssuer, k8sJwks: "ftp://127.0.0.1/jwks" }, "--k8s-jwks takes a file, an https URL"],
  [{ k8sIssuer, k8sJwks: "https://user:word@cluster.example/" }, "--k8s-jwks takes a file, an https URL"],
  [{ k8sIssuer, k8sJwks: "keys.json", k8sTokenPath: "token" }, "--k8s-token-path takes an absolute path"],
  [{ k8sIssuer, k8sJwks: "keys.json", k8sCa: "ca.pem" }, "--k8s-ca goes with an https URL"],
  [{ k8sIssuer, k8sJwks: "https://cluster.example/", k8sCa: "/dev/null" }, "--k8s-ca takes CA certificates"],
])("refuses %o", async (flags, message) => {
  await expect(requireKubernetes(flags)).rejects.toThrow(message);
});
