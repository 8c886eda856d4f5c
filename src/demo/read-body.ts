import type { IncomingMessage } from "node:http";
import { fail, ok, type Result } from "../base/result.ts";

/** Why a body is not a text. */
export type BodyRefusal = "body-too-large" | "body-cut-short" | "body-not-utf8";

/**
 * Collects the body of a request or an answer, at most `bytesMax` of it. What comes after that is read and thrown
 * away, so that the other side still gets an answer; whoever does not want to wait for it destroys the message.
 */
export function readBody(message: IncomingMessage, bytesMax: number): Promise<Result<string, BodyRefusal>> {
  return new Promise((resolve) => {
    const chunks: Buffer[] = [];
    let bytes = 0;
    const collect = (chunk: Buffer): void => {
      bytes += chunk.length;
      if (bytes <= bytesMax) {
        chunks.push(chunk);
        return;
      }
      chunks.length = 0;
      message.off("data", collect);
      message.resume();
      resolve(fail("body-too-large", `more than ${bytesMax} bytes`));
    };
    message.on("data", collect);
    message.once("end", () => resolve(textOf(Buffer.concat(chunks))));
    message.on("error", () => resolve(fail("body-cut-short")));
    message.once("close", () => resolve(fail("body-cut-short")));
  });
}

const utf8 = new TextDecoder("utf-8", { fatal: true });

function textOf(bytes: Buffer): Result<string, "body-not-utf8"> {
  try {
    return ok(utf8.decode(bytes));
  } catch {
    return fail("body-not-utf8");
  }
}
