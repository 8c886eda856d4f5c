import { execFile } from "node:child_process";
import { readFileSync } from "node:fs";
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { z } from "zod";
import { buildGoPeer, missingForGoPeer } from "../../apparatus/go-peer.ts";
import { missingForPythonPeer } from "../../apparatus/python-peer.ts";
import {
  decodeRequestTokenText,
  encodeRequestTokenCase,
  type RequestTokenCase,
  randomRequestTokenCases,
  spoiltTexts,
} from "../../apparatus/request-token-cases.ts";
import { repository } from "../../apparatus/running-mesh.ts";
import { type Claim, failed, ok, skipped } from "../claim.ts";

const many = 100_000;
const outputBytesMax = 2 ** 28;
const shownMax = 3;

export const claim: Claim = {
  text: "implementations of request tokens in Go and Python, written from the page that describes them, make and read the same as Troth",
  run: async ({ note }) => {
    const missing = missingForGoPeer("request-token-go") ?? missingForPythonPeer();
    if (missing !== undefined) return skipped(missing);
    await using folder = await temporary();
    const python = join(repository, "test", "peers", "request-token-python", "peer.py");
    const coders: readonly Coder[] = [
      { name: "Go", command: [await buildGoPeer("request-token-go", folder.path)] },
      { name: "Python", command: ["python3", python] },
    ];

    const vectors = publishedVectors();
    const cases = [...vectors, ...randomRequestTokenCases("agree").take(many)];
    const made = cases.map(encodeRequestTokenCase);
    const published = vectors.map(
      ({ audienceKey, clientKey, token }) => `${audienceKey} ${clientKey} ${token}`,
    );
    const wrong = published.filter((line, index) => line !== made[index]);
    if (wrong.length > 0) return failed(`${wrong.length} published vectors are another`);
    note(`${cases.length} tokens were made`);

    const texts = [...spoiltTexts("agree", made.map(tokenOf))];
    const read = texts.map(decodeRequestTokenText);
    for (const coder of coders) {
      const theirs = await Promise.all([ask(coder, "encode", cases), ask(coder, "decode", texts)]);
      const problem = differences(made, theirs[0]) ?? differences(read, theirs[1]);
      if (problem !== undefined) return failed(`${coder.name}: ${problem}`);
      note(`${coder.name} agrees`);
    }
    const spoilt = read.filter((line) => line.startsWith("request-token-")).length;
    return ok(
      `${vectors.length} published vectors and ${many} random tokens with their keys, made alike three times; of ${texts.length} texts, ${spoilt} of them spoilt, the same fields or reason three times`,
    );
  },
};

interface Coder {
  readonly name: string;
  readonly command: readonly string[];
}

const publishedVector = z.looseObject({ audienceKey: z.string(), clientKey: z.string(), token: z.string() });

function publishedVectors() {
  const path = join(repository, "docs", "specs", "request-token-vectors.json");
  const vectors: readonly RequestTokenCase[] = JSON.parse(readFileSync(path, "utf8"));
  return vectors.map((vector) => ({ ...vector, ...publishedVector.parse(vector) }));
}

async function ask(coder: Coder, task: string, lines: readonly unknown[]): Promise<readonly string[]> {
  const [program = "", ...args] = coder.command;
  const { promise, resolve, reject } = Promise.withResolvers<string>();
  const child = execFile(program, [...args, task], { maxBuffer: outputBytesMax }, (error, stdout) =>
    error === null ? resolve(stdout) : reject(error),
  );
  child.stdin?.end(lines.map((line) => `${JSON.stringify(line)}\n`).join(""));
  return (await promise).split("\n").slice(0, -1);
}

function differences(ours: readonly string[], theirs: readonly string[]): string | undefined {
  if (ours.length !== theirs.length) return `${theirs.length} answers to ${ours.length} questions`;
  const unlike = ours.flatMap((line, index) =>
    line === theirs[index] ? [] : [`${line} here, ${theirs[index]} there`],
  );
  return unlike.length === 0 ? undefined : `${unlike.length} differ: ${unlike.slice(0, shownMax).join("; ")}`;
}

function tokenOf(line: string): string {
  return line.slice(line.lastIndexOf(" ") + 1);
}

async function temporary() {
  const path = await mkdtemp(join(tmpdir(), "troth-request-token-"));
  return { path, [Symbol.asyncDispose]: () => rm(path, { recursive: true, force: true }) };
}
