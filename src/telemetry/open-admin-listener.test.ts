import { once } from "node:events";
import http from "node:http";
import net from "node:net";
import { afterAll, beforeAll, expect, it } from "vitest";
import { ask } from "../../test/apparatus/workload.ts";
import { silentLog } from "../../test/fakes/silent-log.ts";
import { type AdminListener, openAdminListener } from "./open-admin-listener.ts";

let missing: string | undefined;
let admin: AdminListener;

beforeAll(async () => {
  admin = await openAdminListener({
    listen: { host: "127.0.0.1", port: 0 },
    checks: [
      { name: "trust-log", missing: () => undefined },
      { name: "identity", missing: () => missing },
    ],
    metrics: () => Promise.resolve("x 1\n"),
    documents: {
      "/config": () => ({ size: 3 }),
      "/broken": () => {
        throw new Error("secret");
      },
    },
    log: silentLog,
  });
});
afterAll(() => admin[Symbol.asyncDispose]());

async function get(path: string, headers = {}, method = "GET"): Promise<string> {
  const [host, port] = admin.address.split(":");
  const { status, body } = await ask({ host, port, path, method, headers, agent: false });
  return `${status} ${body}`;
}

it.each([
  ["/livez", "200 ok\n"],
  ["/readyz", "200 ok\n"],
  ["/readyz?verbose", "200 [+] trust-log ok\n[+] identity ok\nreadyz check passed\n"],
  ["/metrics", "200 x 1\n"],
  ["/config", '200 {\n  "size": 3\n}\n'],
  ["/toString", "404 there is: /livez /readyz /readyz?verbose /metrics /config /broken\n"],
  ["/broken", "500 this process could not say; its log says why\n"],
])("answers %s", async (path, answer) => {
  missing = undefined;

  expect(await get(path)).toBe(answer);
});

it("says by name what is missing, whether or not it was asked to be verbose", async () => {
  missing = "no SVID";

  const answer = "503 [+] trust-log ok\n[-] identity: no SVID\nreadyz check failed\n";
  expect(await get("/readyz")).toBe(answer);
  expect(await get("/readyz?verbose")).toBe(answer);
  expect(await get("/livez")).toBe("200 ok\n");
});

it.each(["evil.example", "127.0.0.1.evil.example", "127.0.0.2"])(
  "does not answer a web page that calls it %o",
  async (host) => {
    expect(await get("/config", { host })).toBe("421 ask for 127.0.0.1\n");
  },
);

it("only lets itself be read", async () => {
  expect(await get("/config", {}, "POST")).toBe("405 only GET\n");
});

it.each(["0.0.0.0", "::", "192.0.2.1", "example.org"])("refuses to listen on %s", async (host) => {
  const opening = openAdminListener({
    listen: { host, port: 0 },
    checks: [],
    metrics: () => Promise.resolve(""),
    log: silentLog,
  });

  await expect(opening).rejects.toMatchObject({ code: "ERR_TELEMETRY_LISTEN" });
});

it("answers while more connections than it takes send their requests slowly", async () => {
  const [host = "", port = ""] = admin.address.split(":");
  const crowd = Array.from({ length: 200 }, () => {
    const socket = net.connect({ host, port: Number(port) });
    socket.on("error", () => {});
    socket.write("GET /livez HTTP/1.1\r\nHost: 127.0.0.1\r\nX-Slow: ");
    return socket;
  });
  await Promise.all(crowd.map((socket) => once(socket, "connect")));

  const answers = [await get("/livez"), await get("/livez")];
  for (const socket of crowd) socket.destroy();

  expect(answers).toEqual(["200 ok\n", "200 ok\n"]);
});

it("keeps a connection for more than one request", async () => {
  const [host = "", port = ""] = admin.address.split(":");
  const agent = new http.Agent({ keepAlive: true, maxSockets: 1 });
  const asked = { host, port, path: "/livez", agent };

  const statuses = [(await ask(asked)).status, (await ask(asked)).status];
  agent.destroy();

  expect(statuses).toEqual([200, 200]);
});
