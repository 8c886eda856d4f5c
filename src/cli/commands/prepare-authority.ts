import { writeFile } from "node:fs/promises";
import { base64Of, hexOf } from "../../base/bytes.ts";
import { messageOf } from "../../base/mesh-error.ts";
import { sha256 } from "../../crypto/index.ts";
import { type AuthorityKind, certificateAuthoritiesOf } from "../../trust-log/index.ts";
import { shortAuthority } from "../authority-views.ts";
import { CliError, exitCode } from "../exit-codes.ts";
import { meshDirectory } from "../mesh-directory.ts";
import { OperatorClient } from "../operator-client.ts";
import { type OutputFormat, printAnswer } from "../output.ts";
import type { Appended } from "../proposed-entry.ts";
import { shortId } from "../proposed-entry.ts";
import { readCertificates } from "../read-certificates.ts";

/** What `troth ca prepare` takes. */
export interface PrepareOptions {
  readonly dir: string;
  readonly output: OutputFormat;
  readonly kind: AuthorityKind;
  /** Where the request for an intermediate under a root elsewhere goes. */
  readonly csr?: string;
  /** Where what the root made of it is read. */
  readonly certificate?: string;
}

/** `troth ca prepare`: makes the next authority, or takes one that a root elsewhere has signed. It signs nothing yet. */
export async function prepareAuthority(options: PrepareOptions): Promise<void> {
  const { csr, certificate, kind } = options;
  if (
    (csr !== undefined && certificate !== undefined) ||
    (kind !== "intermediate" && (csr ?? certificate) !== undefined)
  )
    throw new CliError(
      exitCode.usage,
      "--csr and --certificate are two steps of one intermediate; say one of them",
    );
  using client = await OperatorClient.open(meshDirectory(options.dir));
  if (csr !== undefined) await writeRequest(client, csr, options.output);
  else if (certificate !== undefined) await takeCertificate(client, certificate, options.output);
  else if (kind === "root") await prepareRoot(client, options.output);
  else if (kind === "intermediate") await prepareIntermediate(client, options.output);
  else await prepareTokenKey(client, kind, options.output);
}

async function prepareRoot(client: OperatorClient, output: OutputFormat): Promise<void> {
  const { certificate } = await client.ask((admin) => admin.prepareAuthority({ kind: "root" }));
  const appended = await trust(client, certificate);
  tell(output, { id: hexOf(sha256(certificate)), kind: "root", appended });
}

async function prepareIntermediate(client: OperatorClient, output: OutputFormat): Promise<void> {
  const { certificate, size } = await client.ask((admin) => admin.prepareAuthority({ kind: "intermediate" }));
  const appended = { size: Number(size), proposals: [] };
  tell(output, { id: hexOf(sha256(certificate)), kind: "intermediate", appended });
}

async function prepareTokenKey(
  client: OperatorClient,
  use: Exclude<AuthorityKind, "root" | "intermediate">,
  output: OutputFormat,
): Promise<void> {
  const { publicKey, notAfterSeconds } = await client.ask((admin) => admin.prepareTokenKey({ use }));
  const body = { use, publicKey: base64Of(publicKey), notAfterSeconds: Number(notAfterSeconds) };
  const appended = await client.append([{ kind: "jwk.put", body }]);
  tell(output, { id: hexOf(sha256(publicKey)), kind: use, appended });
}

async function writeRequest(client: OperatorClient, file: string, output: OutputFormat): Promise<void> {
  const { request } = await client.ask((admin) => admin.prepareAuthority({ kind: "request" }));
  try {
    await writeFile(file, pemOf("CERTIFICATE REQUEST", request), { flag: "wx" });
  } catch (error) {
    throw new CliError(exitCode.failed, `the request was not written: ${messageOf(error)}`);
  }
  printAnswer(output, "AuthorityRequest", { file }, () =>
    [
      `${file} is to be signed by the root, with the extensions that it asks for, such as:`,
      `  openssl x509 -req -in ${file} -CA root.pem -CAkey root.key -days 90 -copy_extensions copyall -out signed.pem`,
      "then: cat signed.pem root.pem > chain.pem && troth ca prepare --certificate chain.pem\n",
    ].join("\n"),
  );
}

/** Has the root trusted first, since an intermediate of nobody's root is refused. */
async function takeCertificate(client: OperatorClient, file: string, output: OutputFormat): Promise<void> {
  const [intermediate, root, ...more] = await readCertificates(file);
  if (intermediate === undefined || more.length > 0)
    throw new CliError(
      exitCode.unreadable,
      `${file} has to hold the intermediate, then the root that signed it, unless that is trusted already`,
    );
  const isTrusted = (der: Uint8Array): boolean =>
    certificateAuthoritiesOf(client.state).some(({ id, isTrusted: is }) => is && id === hexOf(sha256(der)));
  if (root !== undefined && !isTrusted(root)) {
    const { proposals } = await trust(client, root);
    const [waiting] = proposals;
    if (waiting !== undefined)
      throw new CliError(
        exitCode.no,
        `the root is trusted once proposal ${shortId(waiting.id)} has its signatures; say this again then`,
      );
  }
  const { size } = await client.ask((admin) =>
    admin.prepareAuthority({ kind: "intermediate", certificate: intermediate }),
  );
  const appended = { size: Number(size), proposals: [] };
  tell(output, { id: hexOf(sha256(intermediate)), kind: "intermediate", appended });
}

function trust(client: OperatorClient, certificate: Uint8Array): Promise<Appended> {
  return client.append([{ kind: "ca.trust", body: { certificate: base64Of(certificate) } }]);
}

function tell(
  output: OutputFormat,
  { id, kind, appended }: { readonly id: string; readonly kind: string; readonly appended: Appended },
): void {
  const { size, proposals } = appended;
  printAnswer(output, "PreparedAuthority", { authority: id, authorityKind: kind, size, proposals }, () => {
    const [waiting] = proposals;
    const when = waiting === undefined ? "" : ` once proposal ${shortId(waiting.id)} has its signatures`;
    return `${kind} ${shortAuthority(id)} is prepared${when} and signs nothing yet; troth ca activate ${shortAuthority(id)} has it sign\n`;
  });
}

function pemOf(label: string, der: Uint8Array): string {
  const lines = base64Of(der).match(/.{1,64}/g) ?? [];
  return [`-----BEGIN ${label}-----`, ...lines, `-----END ${label}-----`, ""].join("\n");
}
