import { spawn } from "node:child_process";
import { once } from "node:events";
import { chmodSync, mkdtempSync, writeFileSync } from "node:fs";
import { rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { httpCall } from "./http-call.ts";

const runMillisMax = 20_000;

/** Asks once and prints the status and the reason of a problem, or what comes of a connection. */
const ask = `
const [kind, address, host] = process.argv.slice(2);
const [name, port] = address.split(":");
const say = (text) => { process.stdout.write(text + "\\n"); process.exit(); };
setTimeout(say, 8000, "no answer");
if (kind === "tcp") {
  const socket = require("node:net").connect(+port, name, () => socket.write("ping"));
  socket.on("data", (chunk) => say(String(chunk)));
  socket.on("error", (error) => say(error.code));
  socket.on("close", () => say("closed"));
} else {
  require("node:http").get({ host: name, port, path: "/", headers: { host }, agent: false }, (response) => {
    let body = "";
    response.on("data", (chunk) => (body += chunk));
    response.on("end", () => say([response.statusCode, /"reason":"([a-z-]+)"/.exec(body)?.[1]].filter(Boolean).join(" ")));
  }).on("error", (error) => say(error.code));
}`;

/** An application that runs whatever it is sent, and answers with what that prints. */
const app = `
const { execFile } = require("node:child_process");
require("node:http").createServer((request, response) => {
  let body = "";
  request.on("data", (chunk) => (body += chunk));
  request.on("end", () => {
    if (request.method === "GET") return response.end("ok\\n");
    const [file, ...args] = JSON.parse(body);
    execFile(file, args, { timeout: 15000 }, (error, stdout, stderr) => response.end(stdout + stderr + (error?.code ?? "")));
  });
}).listen(+process.env.PORT, "127.0.0.1");`;

/** Programs that every user of this machine can run, and the ways to have them run. */
export interface CommandedApp extends AsyncDisposable {
  /** What runs the application. */
  readonly command: readonly string[];
  /** What asks once: `http` or `tcp`, host:port, and for HTTP the host that is meant. */
  readonly ask: (...words: readonly string[]) => readonly string[];
  /** Has the application that listens at a port run something; what it prints. */
  readonly run: (port: number, words: readonly string[]) => Promise<string>;
  /** The same, by a process whose parents have ended by then. */
  readonly runDetached: (port: number, words: readonly string[]) => Promise<string>;
}

/** Writes the programs to a folder that others can read. */
export function openCommandedApp(): CommandedApp {
  const folder = mkdtempSync(join(tmpdir(), "commanded-"));
  chmodSync(folder, 0o755);
  writeFileSync(join(folder, "ask.cjs"), ask);
  writeFileSync(join(folder, "app.cjs"), app);
  const run = async (port: number, words: readonly string[]): Promise<string> => {
    const body = JSON.stringify(words);
    const address = `127.0.0.1:${port}`;
    const answer = await httpCall({ address, path: "/", method: "POST", body, timeoutMillis: runMillisMax });
    return answer.body.trim();
  };
  return {
    command: [process.execPath, join(folder, "app.cjs")],
    ask: (...words) => [process.execPath, join(folder, "ask.cjs"), ...words],
    run,
    runDetached: async (port, words) => {
      const said = await run(port, ["mktemp", "-p", "/tmp", "commanded-XXXXXX"]);
      await run(port, ["sh", "-c", `setsid sh -c '${words.join(" ")} > ${said} 2>&1' > /dev/null 2>&1 &`]);
      for (let waited = 0; waited < runMillisMax; waited += 100) {
        await sleep(100);
        const text = await run(port, ["cat", said]);
        if (text === "") continue;
        await run(port, ["rm", said]);
        return text;
      }
      return "nothing said";
    },
    [Symbol.asyncDispose]: () => rm(folder, { recursive: true, force: true }),
  };
}

/** Runs something beside all applications, as a user; what it prints. */
export async function runBeside(words: readonly string[], uid?: number): Promise<string> {
  const [file = "", ...args] = words;
  const child = spawn(file, args, {
    stdio: ["ignore", "pipe", "pipe"],
    cwd: "/",
    ...(uid === undefined ? {} : { uid, gid: uid }),
  });
  let said = "";
  child.stdout.on("data", (chunk: Buffer) => {
    said += chunk.toString("utf8");
  });
  child.stderr.on("data", (chunk: Buffer) => {
    said += chunk.toString("utf8");
  });
  await once(child, "close");
  return said.trim();
}
