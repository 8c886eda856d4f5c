import { readFileSync } from "node:fs";
import tls from "node:tls";

/**
 * Opens mutual TLS 1.3 connections one after the other on several lanes, asks once on each, and prints one JSON object.
 * Arguments: host:port, Host, file with certificates, file with the key, lanes, seconds. Nothing is resumed.
 */
const [address = "", host = "", certFile = "", keyFile = "", lanes = "1", seconds = "1"] =
  process.argv.slice(2);
const [name, port] = address.split(":");
const answerMillisMax = 5_000;
const context = tls.createSecureContext({
  cert: readFileSync(certFile),
  key: readFileSync(keyFile),
  // Without a list of its own, Node would load the public roots.
  ca: [],
  minVersion: "TLSv1.3",
});
const request = `GET /1k HTTP/1.1\r\nHost: ${host}\r\nConnection: close\r\n\r\n`;
const end = performance.now() + Number(seconds) * 1000;
const errorTexts: string[] = [];
let handshakes = 0;
let errors = 0;
let group = "";
let cipher = "";

const work = async (): Promise<void> => {
  while (performance.now() < end && errors < 100) {
    const failure = await askOnce();
    if (failure === "") handshakes += 1;
    else {
      errors += 1;
      if (errorTexts.length < 4) errorTexts.push(failure);
    }
  }
};
await Promise.all(Array.from({ length: Number(lanes) }, work));
const { user, system } = process.cpuUsage();
const cpuSeconds = (user + system) / 1e6;
process.stdout.write(`${JSON.stringify({ handshakes, errors, errorTexts, group, cipher, cpuSeconds })}\n`);

/** What went wrong; empty when the answer was 200. */
function askOnce(): Promise<string> {
  return new Promise((resolve) => {
    let answer = "";
    let failure = "";
    const socket = tls.connect({
      host: name,
      port: Number(port),
      secureContext: context,
      ALPNProtocols: ["http/1.1"],
      // Which server this is makes no difference here.
      rejectUnauthorized: false,
      checkServerIdentity: () => undefined,
    });
    socket.setNoDelay(true);
    socket.setTimeout(answerMillisMax, () => socket.destroy(new Error("no answer")));
    socket.once("secureConnect", () => {
      if (group === "") {
        const info = socket.getEphemeralKeyInfo();
        group = info !== null && "name" in info ? String(info.name) : "unknown";
        cipher = socket.getCipher().name;
      }
      socket.write(request);
    });
    socket.on("data", (chunk: Buffer) => {
      answer += chunk.toString("latin1");
    });
    socket.on("error", (error) => {
      failure = error.message;
    });
    socket.once("close", () => {
      const line = answer.split("\r\n", 1)[0] ?? "";
      const isGood = line.startsWith("HTTP/1.1 200") && answer.endsWith("x".repeat(1024));
      resolve(isGood ? "" : failure || `answer: ${line}`);
    });
  });
}
