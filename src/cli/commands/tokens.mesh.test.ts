import { spawnSync } from "node:child_process";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { z } from "zod";
import { type Ended, plainEnvironment } from "../../../test/apparatus/running-command.ts";
import { openMesh, type RunningMesh, repository, troth } from "../../../test/apparatus/running-mesh.ts";
import { keyPeriodAt, requestDigest, requestTokenText } from "../../request-token/index.ts";

const plan = z.looseObject({
  mode: z.string(),
  obstacles: z.array(z.string()),
  certificates: z.array(z.object({ instance: z.string(), sha256: z.string() })),
  audiences: z.array(z.string()),
  requestDigest: z.string(),
});
const verification = z.looseObject({
  isRefused: z.boolean(),
  steps: z.array(z.object({ step: z.string(), outcome: z.string(), detail: z.string() })),
});
const attackReport = z.looseObject({
  outcomes: z.array(z.looseObject({ wasStopped: z.boolean(), observed: z.string() })),
});
const request = { method: "GET", destination: "/shop/ledger", path: "/entries", contentDigest: "" };

describe("over the demo's mesh, troth token", () => {
  const open = new AsyncDisposableStack();
  let mesh: RunningMesh;

  beforeAll(async () => {
    mesh = open.use(await openMesh({ kind: "demo", env: { LOAD_RATE: "1" } }));
  }, 120_000);
  afterAll(() => open.disposeAsync(), 60_000);

  const run = (...args: string[]): Promise<Ended> => troth(mesh.path, "token", ...args);
  const planOf = async (...args: string[]) => {
    const { code, stdout } = await run("mint", ...args, "--dry-run", "-o", "json");
    return { code, ...plan.parse(JSON.parse(stdout)) };
  };
  const outcomesOf = async (token: string, ...args: string[]) => {
    const { code, stdout } = await run("verify", token, ...args, "-o", "json");
    const { isRefused, steps } = verification.parse(JSON.parse(stdout));
    expect(code).toBe(isRefused ? 1 : 0);
    return Object.fromEntries(steps.map(({ step, outcome }) => [step, outcome]));
  };
  const tokenWith = (certificate: string, issuedAtMillis: number, keyPeriod = keyPeriodAt(issuedAtMillis)) =>
    requestTokenText({
      mode: "granted",
      keyPeriod,
      issuedAtMillis,
      nonce: new Uint8Array(16),
      certificateFingerprint: Uint8Array.from(Buffer.from(certificate, "hex")),
      requestDigest: requestDigest(request),
      tag: new Uint8Array(32),
    });
  const asked = ["--to", "/shop/ledger", "--method", "GET", "--path", "/entries"] as const;

  it("says what a token would be made of, and what stands against it", async () => {
    const wanted = await planOf("/shop/payments", "/shop/ledger", "--path", "/entries");
    expect(wanted).toMatchObject({ code: 0, obstacles: [] });
    expect(wanted.requestDigest).toBe(Buffer.from(requestDigest(request)).toString("hex"));
    expect([wanted.certificates.length > 0, wanted.audiences.length]).toEqual([true, 1]);

    const unwanted = await planOf("/shop/mallory", "/shop/ledger");
    expect(unwanted.obstacles).toEqual(["no rule allows it: troth allow /shop/mallory /shop/ledger"]);
    expect((await run("mint", "/shop/mallory", "/shop/nobody", "--dry-run")).code).toBe(4);
  }, 180_000);

  it("mints none itself", async () => {
    const { code, stderr } = await run("mint", "/shop/web", "/shop/ledger");

    expect([code, stderr.includes("only a proxy can mint")]).toEqual([2, true]);
  }, 180_000);

  it("finds nothing against a token that fits, and names the step where one does not", async () => {
    const { certificates } = await planOf("/shop/payments", "/shop/ledger");
    const certificate = certificates[0]?.sha256 ?? "";
    const now = Date.now();
    const good = { "key period": "ok", time: "ok", certificate: "ok", request: "ok" };
    const unchecked = { tag: "not-checked", nonce: "not-checked" };

    expect(await outcomesOf(tokenWith(certificate, now), ...asked)).toEqual({
      mode: "ok",
      ...good,
      ...unchecked,
    });
    expect(await outcomesOf(tokenWith(certificate, now))).toMatchObject({
      mode: "not-checked",
      request: "not-checked",
    });
    expect(await outcomesOf(tokenWith(certificate, now - 120_000), ...asked)).toMatchObject({
      time: "failed",
    });
    expect(await outcomesOf(tokenWith(certificate, now + 60_000), ...asked)).toMatchObject({
      time: "failed",
    });
    expect(await outcomesOf(tokenWith("ab".repeat(32), now), ...asked)).toMatchObject({
      certificate: "failed",
    });
    expect(await outcomesOf(tokenWith(certificate, now, 7), ...asked)).toMatchObject({
      "key period": "failed",
    });
    expect(await outcomesOf(tokenWith(certificate, now), ...asked, "--path", "/else")).toMatchObject({
      request: "failed",
    });
  }, 180_000);

  it("refuses a JWT that nobody in the mesh has signed, and asks for whom one is", async () => {
    const part = (value: object) => Buffer.from(JSON.stringify(value)).toString("base64url");
    const claims = { sub: "spiffe://shop.example/shop/web", aud: ["api"], exp: 4_000_000_000 };
    const forged = `${part({ alg: "ES256", kid: "x", typ: "JWT" })}.${part(claims)}.${"A".repeat(86)}`;

    const { code, stdout } = await run("verify", forged, "--audience", "api", "-o", "json");
    expect([code, z.looseObject({ isRefused: z.boolean() }).parse(JSON.parse(stdout)).isRefused]).toEqual([
      1,
      true,
    ]);
    expect((await run("verify", forged)).code).toBe(2);
  }, 180_000);

  it("is attacked in vain, but for a replay where the ledger wants no request tokens", async () => {
    const attack = async (name: string) => {
      const { code, stdout } = await troth(mesh.path, "attack", name, "-o", "json");
      const { outcomes } = attackReport.parse(JSON.parse(stdout));
      return { code, got: outcomes.filter(({ wasStopped }) => !wasStopped).map(({ observed }) => observed) };
    };
    expect(await attack("all")).toEqual({ code: 0, got: [] });

    await run("policy", "/shop/ledger", "off");

    expect(await attack("replay")).toEqual({
      code: 1,
      got: [expect.stringContaining("an honest request got 201, the attack 201")],
    });
  }, 180_000);

  it("shows what is in a token without a mesh, from standard input too, and what is none", () => {
    const inspect = (input: string, ...args: string[]) =>
      spawnSync(process.execPath, [join(repository, "src/cli/main.ts"), "token", "inspect", ...args], {
        input,
        encoding: "utf8",
        env: plainEnvironment(),
      });
    const token = tokenWith("ab".repeat(32), 1_763_788_800_000);

    const shown = inspect(`troth-request-token: ${token}\n`, "-o", "json");
    expect(JSON.parse(shown.stdout)).toMatchObject({
      kind: "RequestToken",
      isVerified: false,
      issuedAt: "2025-11-22T05:20:00Z",
      certificateSha256: "ab".repeat(32),
    });
    expect(inspect("", token).stdout).toContain("not verified");
    expect(inspect("hello").status).toBe(65);
    expect(inspect("a.b.c").status).toBe(65);
    expect(inspect("x".repeat(1_000_000)).status).toBe(65);
  }, 180_000);
});
