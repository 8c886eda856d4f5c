import { spawnSync } from "node:child_process";
import { chmodSync, cpSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { z } from "zod";
import { type Ended, plainEnvironment } from "../../test/apparatus/running-command.ts";
import { openMesh, type RunningMesh, repository, troth } from "../../test/apparatus/running-mesh.ts";
import { temporaryFolder } from "../../test/contracts/temporary-folder.ts";
import { completionScripts, completionShells } from "./completion-scripts.ts";
import { freePort } from "./free-port.ts";

const example = join(repository, "examples", "shop.yaml");
const report = z.looseObject({
  treeSize: z.number(),
  entries: z.number(),
  changes: z.array(z.looseObject({ kind: z.string(), name: z.string(), outcome: z.string() })),
});

describe("over the demo's mesh, troth", () => {
  const open = new AsyncDisposableStack();
  let mesh: RunningMesh;
  let folder: string;

  beforeAll(async () => {
    mesh = open.use(await openMesh({ kind: "demo", env: { LOAD_RATE: "2" } }));
    folder = open.use(await temporaryFolder()).path;
  }, 120_000);
  afterAll(() => open.disposeAsync(), 60_000);

  const run = (...args: string[]): Promise<Ended> => troth(mesh.path, ...args);
  const file = (name: string, text: string): string => {
    writeFileSync(join(folder, name), text);
    return join(folder, name);
  };
  const outcomes = (ended: Ended): string[] =>
    report
      .parse(JSON.parse(ended.stdout))
      .changes.filter(({ outcome }) => outcome !== "unchanged")
      .map(({ kind, name, outcome }) => `${kind} ${name} ${outcome}`);

  it("finds the example file to be what the demo registers", async () => {
    expect(await run("diff", "-f", example)).toMatchObject({ code: 0, stdout: "" });

    const { code, stdout } = await run("apply", "-f", example, "-o", "json");

    expect(code).toBe(0);
    expect(report.parse(JSON.parse(stdout))).toMatchObject({ entries: 0 });
  }, 180_000);

  it("says which services want request tokens, shows it, and takes it back", async () => {
    const window = ["--past", "5", "--future", "1"];
    const put = await run("token", "policy", "shop/nowhere", "per-request", ...window, "-o", "json");
    expect(put).toMatchObject({ code: 0, stderr: "troth: note: /shop/nowhere is not registered (yet)\n" });
    expect(JSON.parse(put.stdout)).toMatchObject({
      kind: "RequestTokenPolicyChange",
      to: "/shop/nowhere",
      mode: "per-request",
      window: { pastSeconds: 5, futureSeconds: 1 },
    });

    const policies = await run("get", "requesttokenpolicies", "-o", "yaml");
    expect(await run("diff", "-f", file("tokens.yaml", policies.stdout))).toMatchObject({ code: 0 });
    expect((await run("get", "requesttokenpolicy", "/shop/nowhere")).stdout).toMatch(
      /\/shop\/nowhere +per-request +5 s behind, 1 s ahead/,
    );

    expect((await run("delete", "requesttokenpolicy", "/shop/nowhere")).code).toBe(0);
    expect((await run("get", "requesttokenpolicy", "/shop/nowhere")).code).toBe(4);
    expect((await run("prefix", "grant", "/shop/press", "/shop/ledger")).code).toBe(0);
    const ofPrefix = await run("token", "policy", "/shop/press", "off");
    expect((await run("prefix", "revoke", "/shop/press")).code).toBe(0);
    expect(ofPrefix).toMatchObject({
      code: 1,
      stderr: expect.stringContaining("/shop/press is a prefix that /shop/ledger holds"),
    });
    const half = await run("token", "policy", "/shop/nowhere", "granted", "--past", "5");
    expect([half.code, half.stderr]).toEqual([
      2,
      "troth: a window has two ends: give both --past and --future, or neither\n",
    ]);
  }, 180_000);

  it("takes back what get prints, and changes nothing by it", async () => {
    const services = await run("get", "service", "-o", "yaml");
    const policies = await run("get", "accesspolicy", "-o", "yaml");
    const all = file("all.yaml", `${services.stdout}---\n${policies.stdout}`);

    const applied = await run("apply", "-f", all, "-o", "json", "--quiet");

    expect(applied).toMatchObject({ code: 0, stderr: "" });
    const { changes, entries } = report.parse(JSON.parse(applied.stdout));
    expect([changes.length, entries]).toEqual([10, 0]);
  }, 180_000);

  it("applies a change once, waits for the proxies, shows it, and removes it again", async () => {
    const rules = file(
      "mallory.yaml",
      "apiVersion: troth/v1\nkind: AccessPolicy\nmetadata: {name: /shop/mallory}\nspec: {rules: [{from: /shop/*, effect: deny}]}\n",
    );
    const dry = await run("apply", "-f", rules, "--dry-run", "-o", "json");
    const differs = await run("diff", "-f", rules);

    const applied = await run("apply", "-f", rules, "--timeout", "30");
    const again = await run("apply", "-f", rules, "-o", "json");

    expect(outcomes(dry)).toEqual(["AccessPolicy /shop/mallory created"]);
    expect([differs.code, differs.stdout]).toEqual([1, expect.stringContaining("+    - from: /shop/*\n")]);
    expect(applied.code).toBe(0);
    expect(applied.stdout).toMatch(
      /^accesspolicy\/shop\/mallory created\n1 entry written; tree size [0-9]+: in force in 6 of 6 proxies \(p50 .*p99 .*\)\n$/,
    );
    expect(outcomes(again)).toEqual([]);
    const described = await run("describe", "service", "/shop/mallory");
    expect(described.stdout).toContain("May be called by : DENIED /shop/*\n");
    const shown = await run(
      "log",
      "show",
      "--kind",
      "rule.put",
      "--author",
      "operator/founder",
      "--limit",
      "1",
    );
    expect(shown.stdout).toContain("/shop/* may not call /shop/mallory");
    const removed = await run("delete", "policy", "/shop/mallory", "-o", "json", "--no-wait");
    expect(outcomes(removed)).toEqual(["AccessPolicy /shop/mallory removed"]);
    expect(await run("wait", "--timeout", "30")).toMatchObject({ code: 0 });
  }, 120_000);

  it("applies the example of traffic policies, shows them in words, and takes them back from get", async () => {
    const traffic = join(repository, "examples", "traffic.yaml");
    const applied = await run("apply", "-f", traffic, "-o", "json", "--no-wait");
    const shown = await run("get", "traffic");
    const described = await run("describe", "traffic", "shop/payments");
    const ofService = await run("describe", "service", "/shop/web");
    const again = await run(
      "apply",
      "-f",
      file("got.yaml", (await run("get", "traffic", "-o", "yaml")).stdout),
    );
    const faulty = file(
      "fault.yaml",
      "apiVersion: troth/v1\nkind: TrafficPolicy\nmetadata: {name: /shop/mallory}\nspec: {routes: [{paths: [/x], fault: {percent: 5, status: 503}}]}\n",
    );
    await run("apply", "-f", faulty, "--no-wait");
    const faults = await run("describe", "service", "/shop/mallory");
    const removed = await run("delete", "-f", traffic, "-f", faulty, "-o", "json", "--no-wait");

    expect(outcomes(applied)).toEqual([
      "TrafficPolicy /shop/web created",
      "TrafficPolicy /shop/payments created",
    ]);
    expect(shown.stdout).toMatch(/\/shop\/web +http +timeout 5 s, 2 retries\n/);
    expect(described.stdout).toContain(
      "POST /charges: timeout 2 s; retries: up to 1 after connect-failed, of POST",
    );
    expect(ofService.stdout).toContain("timeout 5 s, 2 retries");
    expect(again.stdout).toContain("nothing to change");
    expect(faults.stdout).toContain("/x: FAULT: 5 % answered 503");
    expect(outcomes(removed)).toHaveLength(3);
  }, 180_000);

  it("shows all kinds of objects, in every form", async () => {
    const kinds = ["service", "policies", "instance", "node", "proxy", "operator", "certificate", "grant"];
    for (const kind of kinds) {
      const wide = await run("get", kind, "-o", "wide");
      const json = await run("get", kind, "-o", "json");
      const { items } = z
        .object({ items: z.array(z.object({ kind: z.string() })) })
        .parse(JSON.parse(json.stdout));
      expect([kind, wide.stdout.split("\n").length]).toEqual([kind, items.length + 2]);
      expect(items.length).toBeGreaterThan(0);
    }
  }, 300_000);

  it("shows every proxy as synced, by name of instance and service", async () => {
    expect(await run("wait", "--timeout", "30")).toMatchObject({ code: 0 });

    const status = await run("proxy", "status", "-o", "json");

    const { items } = z
      .object({ items: z.array(z.object({ instance: z.string(), service: z.string(), state: z.string() })) })
      .parse(JSON.parse(status.stdout));
    expect(items.map(({ service }) => service)).toEqual([
      "/shop/checkout",
      "/shop/ledger",
      "/shop/load",
      "/shop/mallory",
      "/shop/payments",
      "/shop/web",
    ]);
    expect(items.filter(({ state }) => !["synced", "behind"].includes(state))).toEqual([]);
    const byPrefix = await run("describe", "proxy", items[0]?.instance.slice(0, 8) ?? "");
    expect(byPrefix.stdout).toContain("/shop/checkout");
  }, 180_000);

  it("proves an entry by two files, which need no mesh, and no other entry by them", async () => {
    const proof = join(folder, "11.tlog-proof");
    const entry = join(folder, "11.entry");
    const proved = await run("log", "prove", "11", "--proof", proof, "--entry", entry, "-o", "json");
    const { logKey } = z.object({ logKey: z.string() }).parse(JSON.parse(proved.stdout));
    const verify = (of: string): Promise<Ended> =>
      troth(join(folder, "nowhere"), "log", "verify", "--proof", proof, "--entry", of, "--log-key", logKey);

    expect(await verify(entry)).toMatchObject({
      code: 0,
      stdout: expect.stringMatching(/^verified: entry 11 of /),
    });
    const other = file("other.entry", readFileSync(entry, "utf8").replace("confidential", "public"));
    expect(await verify(other)).toMatchObject({ code: 1, stdout: expect.stringContaining("not-included") });
  }, 180_000);

  it("ends with the exit code that says what happened", async () => {
    const bad = file("bad.yaml", "apiVersion: troth/v1\nkind: Servce\n");
    const present = file("present", "");
    const unreachable = join(folder, "unreachable");
    cpSync(join(mesh.path, "operator"), join(unreachable, "operator"), { recursive: true });
    const domain = readFileSync(join(mesh.path, "domain.json"), "utf8");
    writeFileSync(
      join(unreachable, "domain.json"),
      domain.replace(mesh.domain.address, `127.0.0.1:${await freePort()}`),
    );
    chmodSync(join(unreachable, "operator", "keys"), 0o700);
    const rows: readonly (readonly [number, RegExp, readonly string[]])[] = [
      [0, /^$/, ["validate", example]],
      [0, /^$/, ["identity", "needs-rotation", "--within", "1000d"]],
      [1, /^$/, ["identity", "needs-rotation", "--within", "1s"]],
      [1, /the only key of role issuer .*troth key prepare issuer/, ["key", "remove", "issuer"]],
      [2, /did you mean service/, ["get", "servce"]],
      [2, /none of the roles issuer, sequencer, server/, ["key", "prepare", "log"]],
      [2, /choices are table, wide, json, yaml/i, ["get", "service", "-o", "xml"]],
      [2, /required option/, ["apply"]],
      [2, /KIND and NAME, or -f/, ["delete"]],
      [3, /does not answer/, ["get", "service", "--dir", unreachable]],
      [4, /no mesh in/, ["get", "service", "--dir", folder]],
      [4, /did you mean \/shop\/web/, ["get", "service", "/shop/webb"]],
      [4, /no AccessPolicy \/shop\/none; nothing was removed/, ["delete", "policy", "/shop/none"]],
      [4, /no key of role server is prepared/, ["key", "activate", "server"]],
      [4, /no key of the control plane named/, ["key", "remove", "issuer-7"]],
      [4, /no file/, ["apply", "-f", join(folder, "none.yaml")]],
      [5, /not at size 99999 within 1 s: \/shop\//, ["wait", "--size", "99999", "--timeout", "1"]],
      [65, /bad\.yaml:2:7: kind: expected .*did you mean "Service"/, ["apply", "-f", bad]],
      [65, /^.*bad\.yaml:2:7: .*\ntroth: 1 problem; nothing was changed\n$/, ["validate", bad]],
      [70, /is there already/, ["log", "prove", "0", "--proof", present]],
    ];

    const ended: (Ended & { readonly args: readonly string[] })[] = [];
    for (const [, , args] of rows) ended.push({ args, ...(await run(...args)) });

    expect(ended.map(({ args, code }) => [code, ...args])).toEqual(
      rows.map(([code, , args]) => [code, ...args]),
    );
    for (const [place, [, said]] of rows.entries()) expect(ended[place]?.stderr).toMatch(said);
  }, 300_000);

  it("shows every instance, and quarantines and releases one by decisions that have numbers", async () => {
    const listed = z.object({
      items: z.array(
        z.looseObject({
          service: z.string(),
          instance: z.string(),
          state: z.string(),
          decision: z.object({ decision: z.int() }).nullable(),
        }),
      ),
    });
    const mallory = async (): Promise<z.infer<typeof listed>["items"][number] | undefined> => {
      const { stdout } = await run("services", "--wide", "-o", "json");
      return listed.parse(JSON.parse(stdout)).items.find(({ service }) => service === "/shop/mallory");
    };
    const before = await mallory();
    const cut = await run(
      "instance",
      "quarantine",
      "/shop/mallory",
      "--reason",
      "test",
      "--wait",
      "--timeout",
      "30",
    );
    const during = await mallory();
    const shown = await run("instance", "show", before?.instance.slice(0, 8) ?? "");
    const old = await run("instance", "release", "/shop/mallory", "--decision", "1");
    const again = await run("instance", "degrade", "/shop/mallory");
    const released = await run("instance", "release", "/shop/mallory", "--wait", "--timeout", "30");
    const twice = await run("instance", "release", "/shop/mallory");
    const none = await run("instance", "show", "/shop/nobody");

    expect([before?.decision, during?.state]).toEqual([null, "quarantined"]);
    expect(cut).toMatchObject({
      code: 0,
      stdout: expect.stringMatching(/quarantined by decision [0-9]+\ntree size [0-9]+: in force in 6 of 6/),
    });
    expect(shown.stdout).toMatch(/^State +: quarantined since /m);
    expect(shown.stdout).toMatch(/^Decision +: [0-9]+: test; ended by an operator$/m);
    expect([old.code, old.stderr]).toEqual([
      1,
      expect.stringMatching(/decision 1 on .* is not in force any more/),
    ]);
    expect([again.code, again.stderr]).toEqual([1, expect.stringMatching(/in quarantine by decision/)]);
    expect(released.code).toBe(0);
    expect([twice.code, twice.stderr]).toEqual([
      1,
      expect.stringMatching(/there is no decision on it to end/),
    ]);
    expect([none.code, none.stderr]).toEqual([4, expect.stringMatching(/no instance \/shop\/nobody/)]);
  }, 180_000);

  it("takes a feed of vulnerabilities that makes sense, and says what is wrong with another", async () => {
    const vulnerabilities = [{ id: "CVE-2026-1", cvss: 5, service: "/shop/ledger" }];
    const feed = file("feed.json", JSON.stringify({ kind: "VulnerabilityFeed", vulnerabilities }));
    const wrong = file("wrong.json", JSON.stringify({ kind: "VulnerabilityFeed", vulnerabilities: [{}] }));

    const taken = await run("cve", "load", feed);
    const refused = await run("cve", "load", wrong);
    let shown = "";
    while (!shown.includes("CVE-2026-1 5.0")) shown = (await run("services", "--wide")).stdout;

    expect(taken).toMatchObject({ code: 0, stdout: expect.stringMatching(/^1 vulnerabilities known/) });
    expect([refused.code, refused.stderr]).toEqual([
      65,
      expect.stringMatching(/vulnerabilities\[0\]: expected an id/),
    ]);
  }, 180_000);

  describe.each(completionShells)("in %s", (shell) => {
    const isHere = spawnSync(shell, ["-c", "true"]).status === 0;
    if (!isHere) console.log(`skipped: completion in ${shell}, which is not installed`);

    it.skipIf(!isHere)(
      "completes commands, options and names of the mesh",
      () => {
        const asked = (...typed: string[]): string[] => completedBy(shell, mesh.path, typed);

        expect(asked("ident")).toEqual(["identity"]);
        expect(asked("apply", "--dry")).toEqual(["--dry-run"]);
        expect(asked("get", "service", "/shop/l").sort()).toEqual(["/shop/ledger", "/shop/load"]);
      },
      60_000,
    );

    it.skipIf(!isHere)(
      "offers no services where there is no mesh",
      () => {
        const completed = completedBy(shell, join(folder, "nowhere"), ["get", "service", "/"]);

        // Files are the shell's own to offer.
        expect(completed.filter((word) => word.startsWith("/shop/"))).toEqual([]);
      },
      60_000,
    );
  });
});

/** Drives a real shell as the key would, with the script that `troth completion` prints. */
function completedBy(
  shell: (typeof completionShells)[number],
  dir: string,
  typed: readonly string[],
): string[] {
  const path = `${join(repository, "bin")}:${process.env["PATH"] ?? ""}`;
  // A busy machine is no reason to offer nothing here; that the names come in time is for people.
  const script = completionScripts[shell].replace("__complete --", "__complete --within 20000 --");
  const words = typed.map((word) => `'${word}'`).join(" ");
  const drivers = {
    bash: `${script}\nCOMP_WORDS=(troth ${words}); COMP_CWORD=${typed.length}; _troth; printf '%s\\n' "\${COMPREPLY[@]}"`,
    zsh: `compdef() { :; }; _files() { :; }; _describe() { print -l -- "\${candidates[@]%%:*}"; }\n${script}\nwords=(troth ${words}); CURRENT=${typed.length + 1}; _troth`,
    fish: `${script}\ncomplete -C 'troth ${typed.join(" ")}' | string split -f1 \\t`,
  };
  const { stdout } = spawnSync(shell, ["-c", drivers[shell]], {
    encoding: "utf8",
    env: { ...plainEnvironment(), PATH: path, TROTH_DIR: dir },
  });
  return stdout.split("\n").filter((line) => line !== "");
}
