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
}

/** Reads the flags, and the CAs that they name; undefined where there are none. Throws with what is missing or wrong. */
export async function requireKubernetes(flags: KubernetesFlags): Promise<Kubernetes | undefined> {
  const { k8sIssuer: issuer, k8sJwks: jwks, k8sAudience: audience, k8sTokenPath: tokenPath } = flags;
  const given = kubernetesFlags(flags);
  if (given.length === 0) return undefined;
  if (issuer === undefined || jwks === undefined)
    throw usage("--k8s-issuer and --k8s-jwks go together; without both no pod's token can be checked");
  if (issuer === "" || audience === "")
    throw usage("--k8s-issuer and --k8s-audience take a text that is not empty");
  if (tokenPath !== undefined && !isAbsolute(tokenPath))
    throw usage(`--k8s-token-path takes an absolute path, as the pod has it, not "${tokenPath}"`);
  const keys = await keySetSource(jwks, flags.k8sCa);
  return {
    issuer,
    keys,
    ...(audience === undefined ? {} : { audience }),
    ...(tokenPath === undefined ? {} : { tokenPath }),
  };
}

/** The flags as another process of this program takes them. */
export function kubernetesFlags(flags: KubernetesFlags): string[] {
  return [
    ["--k8s-issuer", flags.k8sIssuer],
    ["--k8s-jwks", flags.k8sJwks],
    ["--k8s-audience", flags.k8sAudience],
    ["--k8s-ca", flags.k8sCa],
    ["--k8s-token-path", flags.k8sTokenPath],
  ].flatMap(([flag = "", value]) => (value === undefined ? [] : [flag, value]));
}

async function keySetSource(text: string, caFile: string | undefined): Promise<Kubernetes["keys"]> {
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
  return { kind: "url", url: url.href, authorities: await readAuthorities(caFile) };
}

async function readAuthorities(file: string): Promise<string> {
  try {
    const text = await readFile(file, "utf8");
    if (text.includes("-----BEGIN CERTIFICATE-----")) return text;
  } catch (error) {
    throw usage(`--k8s-ca cannot be read: ${messageOf(error)}`);
  }
  throw usage(`--k8s-ca takes CA certificates in PEM, and ${file} has none`);
}

function usage(message: string): CliError {
  return new CliError(exitCode.usage, message);
}
