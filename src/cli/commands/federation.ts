import { readFile } from "node:fs/promises";
import { Code, ConnectError } from "@connectrpc/connect";
import { messageOf } from "../../base/mesh-error.ts";
import { domainBundle } from "../../control-plane/index.ts";
import {
  parseSpiffeBundle,
  parseSpiffeId,
  parseTrustDomain,
  pathOf,
  type SpiffeBundle,
  spiffeBundleBytesMax,
  type TrustDomain,
  trustDomainOf,
  writeSpiffeBundle,
  writeSpiffeBundleMap,
} from "../../identity/index.ts";
import { hostOfRemote } from "../../trust-log/index.ts";
import { CliError, exitCode } from "../exit-codes.ts";
import { meshDirectory } from "../mesh-directory.ts";
import { type NewEntry, OperatorClient } from "../operator-client.ts";
import { durationOf, type OutputFormat, printAnswer, tableOf } from "../output.ts";
import { shortId } from "../proposed-entry.ts";
import { reachedInWords } from "../proxy-progress.ts";
import { requireReached, writeEntries } from "../write-entries.ts";

const waitMillisMax = 10_000;

interface FederationOptions {
  readonly dir: string;
  readonly output: OutputFormat;
}

/** `troth federation list`: what the trust log says of each relationship, and how reading its bundle goes. */
export async function listFederation(options: FederationOptions): Promise<void> {
  using client = await OperatorClient.open(meshDirectory(options.dir));
  const { standings, bundleEndpoint } = await client.admin.listFederation({});
  const { state } = client;
  const items = [...state.federation.entries()].map(([trustDomain, row]) => {
    const standing = standings.find((one) => one.trustDomain === trustDomain);
    const id = `spiffe://${trustDomain}/`;
    return {
      trustDomain,
      url: row.url,
      profile: row.profile,
      ...(row.endpointSpiffeId === undefined ? {} : { endpointSpiffeId: row.endpointSpiffeId }),
      keys: keysIn(trustDomain, row.bundle),
      remotes: [...state.remotes.entries()]
        .filter(([name]) => name.startsWith(id))
        .map(([name, { addresses }]) => ({ spiffeId: name, host: hostOfRemote(name), addresses })),
      rules: [...state.rules.entries()].filter(([, { from }]) => from.startsWith(id)).map(([name]) => name),
      ...(standing?.lastSuccessSecondsAgo === undefined
        ? {}
        : { lastSuccessSecondsAgo: standing.lastSuccessSecondsAgo }),
      lastError: standing?.lastError ?? "",
      nextPollSeconds: standing?.nextPollSeconds ?? 0,
    };
  });
  printAnswer(options.output, "FederationList", { items, bundleEndpoint }, () => {
    const own =
      bundleEndpoint === ""
        ? "This trust domain's own bundle is served nowhere: troth up --bundle-endpoint HOST:PORT\n"
        : `This trust domain's own bundle is served at https://${bundleEndpoint}/\n`;
    if (items.length === 0)
      return `No other trust domain is known here; troth federation add makes one so.\n${own}`;
    const rows = items.map((one) => [
      one.trustDomain,
      one.profile,
      one.keys === undefined ? "none" : `${one.keys.x509} x509, ${one.keys.jwt} jwt, ${one.keys.wit} wit`,
      String(one.rules.length),
      String(one.remotes.length),
      one.lastSuccessSecondsAgo === undefined ? "-" : `${durationOf(one.lastSuccessSecondsAgo)} ago`,
      durationOf(one.nextPollSeconds),
      one.lastError === "" ? "-" : one.lastError,
    ]);
    const headings = ["TRUST DOMAIN", "PROFILE", "KEYS", "RULES", "REMOTES", "READ", "NEXT IN", "ERROR"];
    const remotes = items.flatMap((one) => one.remotes);
    const where =
      remotes.length === 0
        ? ""
        : `\n${tableOf(
            ["REMOTE", "CALLED AS", "ADDRESSES"],
            remotes.map(({ spiffeId, host, addresses }) => [spiffeId, `http://${host}`, addresses.join(" ")]),
          )}`;
    return `${tableOf(headings, rows)}${where}${own}`;
  });
}

/** `troth federation show`: a bundle as SPIFFE writes it, from the log as this client has checked it. */
export async function showBundle(
  name: string | undefined,
  options: { readonly dir: string; readonly map: boolean },
): Promise<void> {
  using client = await OperatorClient.open(meshDirectory(options.dir));
  const { state } = client;
  const trustDomain = requireTrustDomain(name ?? client.domain.trustDomain);
  // Without a sequence: that of the endpoint is its own to count, and must not seem to go back.
  const bundle =
    trustDomain === client.domain.trustDomain
      ? domainBundle(state, trustDomain, undefined)
      : readBundle(trustDomain, state.federation.get(trustDomain)?.bundle);
  if (bundle === undefined)
    throw new CliError(exitCode.notFound, `no bundle of ${trustDomain} is known; see: troth federation list`);
  process.stdout.write(`${options.map ? writeSpiffeBundleMap([bundle]) : writeSpiffeBundle(bundle)}\n`);
}

/** `troth federation add`: the relationship as one entry of the trust log. */
export async function addFederation(
  name: string,
  options: FederationOptions & {
    readonly url: string;
    readonly profile: "https_spiffe" | "https_web";
    readonly endpointId?: string;
    readonly bundle?: string;
  },
): Promise<void> {
  const trustDomain = requireTrustDomain(name);
  const { url, profile, endpointId } = options;
  if ((profile === "https_spiffe") !== (endpointId !== undefined))
    throw new CliError(
      exitCode.usage,
      profile === "https_spiffe"
        ? "https_spiffe takes --endpoint-id, the SPIFFE ID of the endpoint; or say --profile https_web"
        : "--endpoint-id is for --profile https_spiffe",
    );
  if (endpointId !== undefined) requireSpiffeId(endpointId);
  const text = options.bundle === undefined ? undefined : await readText(options.bundle);
  const bundle = text === undefined ? undefined : parseSpiffeBundle(trustDomain, text);
  if (bundle?.ok === false)
    throw new CliError(
      exitCode.unreadable,
      `this is no SPIFFE bundle: ${bundle.reason} ${bundle.detail}`.trim(),
    );
  const body = {
    trustDomain,
    url,
    profile,
    ...(endpointId === undefined ? {} : { endpointSpiffeId: endpointId }),
    ...(bundle === undefined ? {} : { bundle: writeSpiffeBundle(bundle.value) }),
  };
  const says = `${trustDomain} is federated with; its workloads may call what rules say: troth allow "spiffe://${trustDomain}/*" SERVICE`;
  await write(options, { kind: "federation.put", body }, says);
}

/** `troth federation refresh`: has the control plane read a bundle now. */
export async function refreshFederation(trustDomain: string, options: FederationOptions): Promise<void> {
  using client = await OperatorClient.open(meshDirectory(options.dir));
  const { standing, size } = await client.admin.refreshFederation({ trustDomain }).catch((error: unknown) => {
    const isUnknown = error instanceof ConnectError && error.code === Code.NotFound;
    throw isUnknown ? notFederated(trustDomain) : error;
  });
  const lastError = standing?.lastError ?? "";
  await client.refresh();
  const keys = keysIn(trustDomain, client.state.federation.get(trustDomain)?.bundle);
  const answer = { trustDomain, keys, lastError, size: Number(size) };
  printAnswer(options.output, "FederationRefresh", answer, () =>
    lastError === ""
      ? `${trustDomain}: ${keys?.x509 ?? 0} x509, ${keys?.jwt ?? 0} jwt, ${keys?.wit ?? 0} wit keys\n`
      : "",
  );
  if (lastError !== "") throw new CliError(exitCode.no, `no bundle of ${trustDomain}: ${lastError}`);
}

/** `troth federation remove`: waits until every proxy has cut the foreign connections. */
export async function removeFederation(trustDomain: string, options: FederationOptions): Promise<void> {
  const says = `the federation with ${trustDomain} has ended`;
  await write(options, { kind: "federation.remove", body: { trustDomain } }, says, (client) => {
    if (!client.state.federation.has(trustDomain)) throw notFederated(trustDomain);
  });
}

/** `troth federation remote put`. */
export async function putRemote(
  id: string,
  addresses: readonly string[],
  options: FederationOptions,
): Promise<void> {
  const { trustDomain, service } = requireRemote(id);
  const body = { trustDomain, service, addresses: [...addresses] };
  const says = `${id} is called as http://${hostOfRemote(id)}`;
  await write(options, { kind: "remote.put", body }, says, (client) => {
    if (!client.state.federation.has(trustDomain)) throw notFederated(trustDomain);
  });
}

/** `troth federation remote remove`. */
export async function removeRemote(id: string, options: FederationOptions): Promise<void> {
  const { trustDomain, service } = requireRemote(id);
  const says = `${id} is called no more`;
  await write(options, { kind: "remote.remove", body: { trustDomain, service } }, says, (client) => {
    if (!client.state.remotes.has(id))
      throw new CliError(exitCode.notFound, `nobody has said where ${id} is; see: troth federation list`);
  });
}

async function write(
  options: FederationOptions,
  entry: NewEntry,
  says: string,
  check: (client: OperatorClient) => void = () => {},
): Promise<void> {
  using client = await OperatorClient.open(meshDirectory(options.dir));
  check(client);
  const { size, proposals, proxies } = await writeEntries(client, [entry], waitMillisMax);
  const [waiting] = proposals;
  const answer = { ...entry.body, size, proposals, ...(proxies === undefined ? {} : { proxies }) };
  printAnswer(options.output, "Federation", answer, () =>
    waiting === undefined
      ? `${says}\nentry ${size - 1} of the trust log${proxies === undefined ? "" : `, ${reachedInWords(proxies)}`}\n`
      : `once proposal ${shortId(waiting.id)} has its signatures: ${says}\n`,
  );
  if (proxies !== undefined) requireReached(proxies, size, waitMillisMax);
}

function requireTrustDomain(text: string): TrustDomain {
  const trustDomain = parseTrustDomain(text.replace(/^spiffe:\/\//, ""));
  if (trustDomain.ok) return trustDomain.value;
  throw new CliError(
    exitCode.usage,
    `"${text}" is no trust domain (${trustDomain.reason}); e.g. bank.example`,
  );
}

function requireSpiffeId(text: string): Parameters<typeof pathOf>[0] {
  const id = parseSpiffeId(text);
  if (id.ok && pathOf(id.value) !== "") return id.value;
  throw new CliError(
    exitCode.usage,
    `"${text}" is no SPIFFE ID with a path; e.g. spiffe://bank.example/bank/vault`,
  );
}

function requireRemote(text: string): { readonly trustDomain: TrustDomain; readonly service: string } {
  const id = requireSpiffeId(text);
  return { trustDomain: trustDomainOf(id), service: pathOf(id) };
}

function notFederated(trustDomain: string): CliError {
  return new CliError(
    exitCode.notFound,
    `there is no federation with ${trustDomain}; see: troth federation list`,
  );
}

function readBundle(trustDomain: TrustDomain, text: string | undefined): SpiffeBundle | undefined {
  const bundle = text === undefined ? undefined : parseSpiffeBundle(trustDomain, text);
  return bundle?.ok === true ? bundle.value : undefined;
}

function keysIn(
  name: string,
  text: string | undefined,
): { readonly x509: number; readonly jwt: number; readonly wit: number } | undefined {
  const bundle = readBundle(requireTrustDomain(name), text);
  if (bundle === undefined) return undefined;
  const { x509, jwtKeys, witKeys } = bundle;
  return { x509: x509.authorities.length, jwt: jwtKeys.size, wit: witKeys.size };
}

async function readText(file: string): Promise<string> {
  try {
    if (file !== "-") return await readFile(file, "utf8");
    let text = "";
    for await (const chunk of process.stdin) {
      text += String(chunk);
      if (text.length > spiffeBundleBytesMax) break;
    }
    return text;
  } catch (error) {
    throw new CliError(exitCode.unreadable, `${file}: ${messageOf(error)}`);
  }
}
