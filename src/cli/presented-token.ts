import { type CompactJws, readCompactJws, tokenBytesMax } from "../crypto/index.ts";
import { parseRequestToken, type RequestToken, requestTokenCharacters } from "../request-token/index.ts";
import { CliError, exitCode } from "./exit-codes.ts";

/** A token that somebody has given to a command. What stands in it is what its author, whoever that was, wrote. */
export type PresentedToken =
  | { readonly kind: "request-token"; readonly text: string; readonly token: RequestToken }
  | { readonly kind: "jwt"; readonly text: string; readonly jws: CompactJws };

/** Whether a JWT says of itself that it is a WIT-SVID. */
export function isWitSvid({ header }: CompactJws): boolean {
  return header["typ"] === "wit+jwt";
}

/**
 * Reads a request token or a JWT from the argument, or from standard input where there is none or it is `-`. White space
 * around it and the name of its header in front of it are not minded.
 */
export async function readPresentedToken(argument: string | undefined): Promise<PresentedToken> {
  const given = argument === undefined || argument === "-" ? await standardInput() : argument;
  const text = given.trim().replace(/^(troth-request-token:|authorization:\s*bearer\s|bearer\s)\s*/i, "");
  if (text === "") throw new CliError(exitCode.unreadable, "there is no token in what was given");
  if (text.includes(".")) {
    const jws = readCompactJws(text);
    if (jws.ok) return { kind: "jwt", text, jws: jws.value };
    throw new CliError(
      exitCode.unreadable,
      `this is no JWT in its one spelling: ${jws.reason} ${jws.detail}`,
    );
  }
  const token = parseRequestToken(text);
  if (token.ok) return { kind: "request-token", text, token: token.value };
  const length = text.length === requestTokenCharacters ? "" : ` (these are ${text.length} characters)`;
  throw new CliError(
    exitCode.unreadable,
    `this is neither a JWT nor a request token: ${token.reason}, ${token.detail}${length}`,
  );
}

async function standardInput(): Promise<string> {
  let text = "";
  for await (const chunk of process.stdin) {
    text += String(chunk);
    if (text.length > 2 * tokenBytesMax)
      throw new CliError(
        exitCode.unreadable,
        `standard input is longer than a token, which has at most ${tokenBytesMax} bytes`,
      );
  }
  return text;
}
