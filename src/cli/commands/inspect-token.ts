import { hexOf } from "../../base/bytes.ts";
import type { CompactJws } from "../../crypto/index.ts";
import { keyPeriodAt, keyPeriodStartsMillis, type RequestToken } from "../../request-token/index.ts";
import { blockOf, durationOf, momentOf, type OutputFormat, printAnswer, talk } from "../output.ts";
import { isWitSvid, readPresentedToken } from "../presented-token.ts";
import { systemClock } from "../system.ts";

/** `troth token inspect [TOKEN]`: what stands in a request token or a JWT. Asks nobody and believes nothing. */
export async function inspectToken(
  argument: string | undefined,
  { output }: { readonly output: OutputFormat },
): Promise<void> {
  const presented = await readPresentedToken(argument);
  if (presented.kind === "request-token") showRequestToken(presented.token, output);
  else showJwt(presented.jws, output);
  talk("nothing of this has been checked; anybody can write it. See: troth token verify");
}

function showRequestToken(token: RequestToken, output: OutputFormat): void {
  const view = {
    isVerified: false,
    mode: token.mode,
    keyPeriod: token.keyPeriod,
    keyPeriodStarts: momentOf(keyPeriodStartsMillis(token.keyPeriod) / 1_000),
    issuedAtMillis: token.issuedAtMillis,
    issuedAt: momentOf(token.issuedAtMillis / 1_000),
    nonce: hexOf(token.nonce),
    certificateSha256: hexOf(token.certificateFingerprint),
    requestDigest: hexOf(token.requestDigest),
    tag: hexOf(token.tag),
  };
  const belongs = keyPeriodAt(token.issuedAtMillis) === token.keyPeriod ? "" : "; the time is not in it";
  printAnswer(output, "RequestToken", view, () =>
    blockOf([
      ["Request token", "version 1, not verified"],
      [
        "Mode",
        token.mode === "granted"
          ? "granted: minted by the caller's proxy"
          : "per request: made by the issuer",
      ],
      ["Issued", `${view.issuedAt}, ${agoOf(token.issuedAtMillis / 1_000)}`],
      ["Key period", `${token.keyPeriod}, from ${view.keyPeriodStarts}${belongs}`],
      ["Nonce", view.nonce],
      ["Certificate", `SHA-256 ${view.certificateSha256}`],
      ["Request digest", view.requestDigest],
      ["Tag", view.tag],
    ]),
  );
}

function showJwt({ header, claims, signature }: CompactJws, output: OutputFormat): void {
  const kind = isWitSvid({ header, claims, signature, input: new Uint8Array() }) ? "WIT-SVID" : "JWT";
  const view = { isVerified: false, type: kind, header, claims, signatureBytes: signature.byteLength };
  printAnswer(output, "Jwt", view, () =>
    blockOf([
      [kind, "not verified"],
      ...Object.entries(header).map(([name, value]) => [`Header ${name}`, wordsOf(name, value)] as const),
      ...Object.entries(claims).map(([name, value]) => [`Claim ${name}`, wordsOf(name, value)] as const),
      ["Signature", `${signature.byteLength} bytes`],
    ]),
  );
}

const times: ReadonlySet<string> = new Set(["exp", "iat", "nbf"]);

function wordsOf(name: string, value: unknown): string {
  if (times.has(name) && typeof value === "number") return `${momentOf(value)}, ${agoOf(value)}`;
  return typeof value === "string" ? value : JSON.stringify(value);
}

function agoOf(seconds: number): string {
  const age = systemClock.nowSeconds() - seconds;
  return age >= 0 ? `${durationOf(age)} ago` : `in ${durationOf(-age)}`;
}
