import { readFile } from "node:fs/promises";
import { isIPv4 } from "node:net";
import { isAbsolute, resolve } from "node:path";
import { messageOf } from "../base/mesh-error.ts";
import type { NodeAgentOptions } from "../node-agent/index.ts";
import { CliError, exitCode } from "./exit-codes.ts";

type Kubernetes = NonNullable<NonNullable<NodeAgentOptions["workloads"]>["kubernetes"]>;

/** What `up` and `node-agent` take of the cluster whose pods they tell apart. */
export interface KubernetesFlags {
  readonly k8sIssuer?: string;
  readonly k8sJwks?: string;
  readonly k8sAudience?: string;
  readonly k8sCa?: string;
  readonly k8sTokenPath?: string;
  readonly k8sReview?: string;
  readonly k8sReviewCa?: string;
  readonly k8sReviewToken?: string;
}

/** Reads the flags, and the CAs that they name; undefined where there are none. Throws with what is missing or wrong. */
export async function requireKubernetes(flags: KubernetesFlags): Promise<Kubernetes | undefined> {
  const { k8sAudience: audience, k8sTokenPath: tokenPath } = flags;
  if (kubernetesFlags(flags).length === 0) return undefined;
  const [signer, review] = [await signerOf(flags), await reviewOf(flags)];
  if (signer === undefined && review === undefined)
    throw usage(
      "--k8s-issuer and --k8s-jwks, or --k8s-review with its CA and token: without, no pod's token can be checked",
    );
  if (audience === "") throw usage("--k8s-issuer and --k8s-audience take a text that is not empty");
  if (tokenPath !== undefined && !isAbsolute(tokenPath))
    throw usage(`--k8s-token-path takes an absolute path, as the pod has it, not "${tokenPath}"`);
  return {
    ...(signer === undefined ? {} : { signer }),
    ...(review === undefined ? {} : { review }),
    ...(audience === undefined ? {} : { audience }),
    ...(tokenPath === undefined ? {} : { tokenPath }),
  };
}

async function signerOf({
  k8sIssuer: issuer,
  k8sJwks: jwks,
  k8sCa,
}: KubernetesFlags): Promise<Kubernetes["signer"]> {
  if (issuer === undefined && jwks === undefined && k8sCa === undefined) return undefined;
  if (issuer === undefined || jwks === undefined)
    throw usage(
      "--k8s-issuer and --k8s-jwks go together; without both no pod's token can be checked by keys",
    );
  if (issuer === "") throw usage("--k8s-issuer and --k8s-audience take a text that is not empty");
  return { issuer, keys: await keySetSource(jwks, k8sCa) };
}

async function reviewOf({
  k8sReview: text,
  k8sReviewCa: caFile,
  k8sReviewToken: tokenFile,
}: KubernetesFlags): Promise<Kubernetes["review"]> {
  if (text === undefined && caFile === undefined && tokenFile === undefined) return undefined;
  if (text === undefined || caFile === undefined || tokenFile === undefined)
    throw usage("--k8s-review, --k8s-review-ca and --k8s-review-token go together");
  const url = URL.parse(text);
  const isSafe = url?.protocol === "https:" && url.username === "" && url.password === "";
  if (url === null || !isSafe)
    throw usage(`--k8s-review takes the https URL of the cluster's API, not "${text}"`);
  const authorities = await readAuthorities("--k8s-review-ca", caFile);
  return { url: url.href, authorities, tokenFile: resolve(tokenFile) };
}

/** The container runtime that is asked, if any; throws where that is no path. */
export function requireContainers(
  socketPath: string | undefined,
): { readonly socketPath: string } | undefined {
  if (socketPath === undefined) return undefined;
  if (!isAbsolute(socketPath))
    throw usage(`--docker-socket takes the absolute path of a Unix socket, not "${socketPath}"`);
  return { socketPath };
}

/** The flags as another process of this program takes them. */
export function kubernetesFlags(flags: KubernetesFlags): string[] {
  return [
    ["--k8s-issuer", flags.k8sIssuer],
    ["--k8s-jwks", flags.k8sJwks],
    ["--k8s-audience", flags.k8sAudience],
    ["--k8s-ca", flags.k8sCa],
    ["--k8s-token-path", flags.k8sTokenPath],
    ["--k8s-review", flags.k8sReview],
    ["--k8s-review-ca", flags.k8sReviewCa],
    ["--k8s-review-token", flags.k8sReviewToken],
  ].flatMap(([flag = "", value]) => (value === undefined ? [] : [flag, value]));
}

async function keySetSource(
  text: string,
  caFile: string | undefined,
): Promise<NonNullable<Kubernetes["signer"]>["keys"]> {
  const isUrl = /^[a-z]+:\/\//i.test(text);
  if (caFile !== undefined && !text.startsWith("https://"))
    throw usage("--k8s-ca goes with an https URL in --k8s-jwks");
  if (!isUrl) return { kind: "file", path: resolve(text) };
  const url = URL.parse(text);
  const isLocal =
    url?.hostname === "[::1]" || (isIPv4(url?.hostname ?? "") && url?.hostname.startsWith("127."));
  const isSafe = url?.protocol === "https:" || (url?.protocol === "http:" && isLocal === true);
  if (url === null || !isSafe || url.username !== "" || url.password !== "")
    throw usage(
      `--k8s-jwks takes a file, an https URL, or an http URL on 127.0.0.1 or [::1], not "${text}"; whoever could change the keys on their way could be any pod`,
    );
  if (caFile === undefined) return { kind: "url", url: url.href };
  return { kind: "url", url: url.href, authorities: await readAuthorities("--k8s-ca", caFile) };
}

async function readAuthorities(flag: string, file: string): Promise<string> {
  try {
    const text = await readFile(file, "utf8");
    if (text.includes("-----BEGIN CERTIFICATE-----")) return text;
  } catch (error) {
    throw usage(`${flag} cannot be read: ${messageOf(error)}`);
  }
  throw usage(`${flag} takes CA certificates in PEM, and ${file} has none`);
}

function usage(message: string): CliError {
  return new CliError(exitCode.usage, message);
}
