import { rm, writeFile } from "node:fs/promises";
import { createServer } from "node:http";
import { join } from "node:path";
import { expect, it } from "vitest";
import { clusterKey, keySetOf } from "../../../test/apparatus/service-account-tokens.ts";
import { temporaryFolder } from "../../../test/contracts/temporary-folder.ts";
import { ClusterKeys } from "./cluster-keys.ts";

const minuteMillis = 60_000;

function clockAndLog() {
  const time = { millis: 0 };
  const warnings: string[] = [];
  const ignore = (): void => {};
  const log = {
    debug: ignore,
    info: ignore,
    error: ignore,
    warn: (text: string) => void warnings.push(text),
  };
  return { time, warnings, clock: { nowSeconds: () => 0, monotonicMillis: () => time.millis }, log };
}

it("reads a file again when it has changed, and has no keys without it", async () => {
  await using folder = await temporaryFolder();
  const path = join(folder.path, "jwks.json");
  const { clock, log, warnings } = clockAndLog();
  const keys = new ClusterKeys({ kind: "file", path }, clock, log);
  const names = async (): Promise<string[]> => [...(await keys.current()).keys()];

  const absent = await names();
  await names();
  await writeFile(path, keySetOf(clusterKey("one")));
  const first = await names();
  await writeFile(path, keySetOf(clusterKey("two")));
  const second = await names();
  await rm(path);

  expect([absent, first, second, await names()]).toEqual([[], ["one"], ["two"], []]);
  expect(warnings).toHaveLength(2);
});

it("asks a URL every five minutes, for a missing key at most every ten seconds, and drops keys after fifteen minutes", async () => {
  const cluster = { keys: keySetOf(clusterKey("one")), status: 200, asked: 0 };
  const server = createServer((_, response) => {
    cluster.asked += 1;
    response.writeHead(cluster.status, { location: "/" }).end(cluster.keys);
  });
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  const address = server.address();
  const port = typeof address === "object" ? address?.port : undefined;
  const { time, clock, log, warnings } = clockAndLog();
  const keys = new ClusterKeys({ kind: "url", url: `http://127.0.0.1:${port}/` }, clock, log);
  const asked = async (read: () => Promise<ReadonlyMap<string, unknown>>): Promise<[number, string]> => {
    const names = [...(await read()).keys()].join();
    return [cluster.asked, names];
  };
  const current = () => asked(() => keys.current());
  const again = () => asked(() => keys.again());
  try {
    expect(await current()).toEqual([1, "one"]);
    expect(await current()).toEqual([1, "one"]);
    cluster.keys = keySetOf(clusterKey("two"));
    expect(await again()).toEqual([2, "two"]);
    expect(await again()).toEqual([2, "two"]);
    time.millis += 10_000;
    expect(await again()).toEqual([3, "two"]);
    time.millis += 5 * minuteMillis;
    expect(await current()).toEqual([4, "two"]);
    for (const status of [302, 500]) {
      cluster.status = status;
      time.millis += 5 * minuteMillis;
      expect((await current())[1]).toBe("two");
    }
    time.millis += 5 * minuteMillis + 1;
    expect(await current()).toEqual([7, ""]);
    expect(await current()).toEqual([7, ""]);
    expect(warnings).toHaveLength(1);
  } finally {
    server.close();
  }
});

it("takes no set of keys beyond its size", async () => {
  await using folder = await temporaryFolder();
  const path = join(folder.path, "jwks.json");
  await writeFile(path, `${keySetOf(clusterKey("one"))}${" ".repeat(65_536)}`);
  const { clock, log } = clockAndLog();

  expect(await new ClusterKeys({ kind: "file", path }, clock, log).current()).toEqual(new Map());
});
