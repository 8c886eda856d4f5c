import http from "node:http";
import type { AddressInfo } from "node:net";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { readProxyConfig } from "./read-proxy-config.ts";

describe("the configuration of a proxy", () => {
  let answer: { readonly status: number; readonly body: string; readonly location?: string };
  let asked = 0;
  const server = http.createServer((_, response) => {
    asked += 1;
    response.writeHead(answer.status, answer.location === undefined ? {} : { location: answer.location });
    response.end(answer.body);
  });
  let address: string;

  beforeAll(async () => {
    await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
    // oxlint-disable-next-line typescript/no-unsafe-type-assertion -- it listens on TCP
    address = `127.0.0.1:${(server.address() as AddressInfo).port}`;
  });
  afterAll(() => server.close());

  it("is the JSON object at /config", async () => {
    answer = { status: 200, body: '{"rules":[],"limits":{"headBytesMax":16384}}' };

    expect(await readProxyConfig(address)).toEqual({ rules: [], limits: { headBytesMax: 16384 } });
  });

  it.each([
    [{ status: 404, body: "" }, 4, /nothing at/],
    [{ status: 500, body: "" }, 70, /answered 500/],
    [{ status: 200, body: "not json" }, 65, /no JSON object/],
    [{ status: 200, body: "[1]" }, 65, /no JSON object/],
    [{ status: 200, body: `"${"x".repeat(17 * 1024 * 1024)}"` }, 65, /too large/],
    [{ status: 302, body: "", location: "http://127.0.0.1:1/config" }, 3, /does not answer/],
  ])("is not taken from another answer (row %#)", async (given, exitCode, message) => {
    answer = given;

    await expect(readProxyConfig(address)).rejects.toMatchObject({
      exitCode,
      message: expect.stringMatching(message),
    });
  });

  it.each([["192.0.2.1:80"], [""], ["127.0.0.1.example.org:80"], ["user@127.0.0.1:80"], ["127.0.0.1:80/x"]])(
    "is not asked for at %s, which is not this machine's loopback",
    async (elsewhere) => {
      const before = asked;

      await expect(readProxyConfig(elsewhere)).rejects.toMatchObject({ exitCode: 4 });
      expect(asked).toBe(before);
    },
  );
});
