import { describe, expect, it, test } from "vitest";
import { hexOf } from "../../src/base/bytes.ts";
import {
  certificateFor,
  foundedAtSeconds,
  SmallTrustLog,
  serviceBody,
} from "../../test/fakes/small-trust-log.ts";
import type { JsonObject } from "../base/canonical-json.ts";
import { exportPublicKey, generateP256, sha256 } from "../crypto/index.ts";
import { type SigningSvid, signDelegation, type UnsignedDelegation } from "./prefix-delegation.ts";
import { matchPrefix } from "./prefix-match.ts";

const player = "/media/player";
const live = "/media/live";
const mallory = "/shop/mallory";
const instance = "11111111-1111-4111-8111-111111111111";
const hexSha256 = (bytes: Uint8Array): string => hexOf(sha256(bytes));

/** What an instance has: a key and a certificate for it. */
function newSvid(): SigningSvid {
  const { privateKey } = generateP256();
  return { certificate: certificateFor(privateKey), privateKey };
}

const svid = newSvid();

function grantOf(prefix: string, holder: string, more: JsonObject = {}): JsonObject {
  return { prefix, holder, depthMax: 0, mayDelegate: false, notAfterSeconds: 0, ...more };
}

class Domain extends SmallTrustLog {
  constructor() {
    super();
    for (const name of [player, live, mallory]) this.put("service.put", serviceBody(name));
  }

  /** What an entry came to: "none", or why it has no effect. */
  try(kind: string, body: JsonObject): string {
    const outcome = this.order(this.entry(kind, body));
    if (!outcome.ok) return outcome.reason;
    return outcome.value.hasEffect ? "none" : outcome.value.detail;
  }

  /** Grants /media to the player, of which it may hand on, and gives it an instance that has the key. */
  withHolder(more: JsonObject = {}): this {
    this.put("prefix.grant", grantOf("/media", player, { depthMax: 3, mayDelegate: true, ...more }));
    this.putNode("node-1");
    this.put("instance.register", { instance, service: player, node: "node-1", auditKey: "a" });
    return this.withSvid(svid, 1);
  }

  withSvid({ certificate, privateKey }: SigningSvid, generation: number): this {
    this.put("svid.put", {
      certificate: hexSha256(certificate),
      spiffeId: `spiffe://example.org${player}`,
      instance,
      serial: "01",
      notBeforeSeconds: foundedAtSeconds,
      notAfterSeconds: foundedAtSeconds + 3_600,
      authorityKeyId: "cd",
      generation,
      keySha256: hexSha256(exportPublicKey(privateKey)),
    });
    return this;
  }

  said(more: Partial<UnsignedDelegation> = {}): UnsignedDelegation {
    const grant = this.state.prefixes.get("/media")?.index ?? 0;
    const part = { under: "/media", grant, sequence: 1, prefix: "/media/video", instance };
    return { ...part, holder: live, depthMax: 1, mayDelegate: false, notAfterSeconds: 0, ...more };
  }

  signed(said: UnsignedDelegation, log = this.genesis, by = svid): JsonObject {
    return { ...signDelegation(log, said, by) };
  }

  holders(): Record<string, string> {
    return Object.fromEntries([...this.state.prefixes.entries()].map(([name, row]) => [name, row.holder]));
  }
}

describe("a prefix grant", () => {
  it("lets a service have names below its prefix, as deep as it says", () => {
    const log = new Domain();
    log.put("prefix.grant", grantOf("/media/video", player, { depthMax: 1 }));

    const found = ["/media/video", "/media/video/a", "/media/video/a/b", "/media/vide", "/media"].map(
      (name) => matchPrefix(log.state, name)?.holder,
    );

    expect(found).toEqual([player, player, undefined, undefined, undefined]);
  });

  it("is no match for a longer one, whoever serves it, and a registered name is its own", () => {
    const log = new Domain();
    log.put("prefix.grant", grantOf("/media", player, { depthMax: 3 }));
    log.put("prefix.grant", grantOf("/media/live/now", mallory, { depthMax: 1 }));

    expect(matchPrefix(log.state, "/media/live/now/1")).toEqual({
      prefix: "/media/live/now",
      holder: mallory,
    });
    expect(matchPrefix(log.state, "/media/live/now/1/2")).toEqual(undefined);
    expect(matchPrefix(log.state, "/media/x/y")).toEqual({ prefix: "/media", holder: player });
    expect(matchPrefix(log.state, live)).toEqual({ prefix: live, holder: live });
  });

  test.each([
    ["a service that is not registered", grantOf("/media", "/nobody"), "no service /nobody"],
    [
      "another service's own name",
      grantOf(live, mallory),
      `${live} is a registered service, whose own name it is`,
    ],
    [
      "what another service has been granted",
      grantOf("/held", mallory),
      `/held is granted to ${player}; withdraw it first`,
    ],
    ["the mesh's own names", grantOf("/troth/x", player), "/troth is reserved for the mesh's own processes"],
    [
      "names that are too long",
      grantOf("/a/b", player, { depthMax: 15 }),
      "a name has 16 components at most",
    ],
    ["a time that is over", grantOf("/a", player, { notAfterSeconds: 1 }), "ended already"],
  ])("is refused to or for %s", (_, body, detail) => {
    const log = new Domain();
    log.put("prefix.grant", grantOf("/held", player));

    expect(log.try("prefix.grant", body)).toBe(detail);
    expect(log.holders()).toEqual({ "/held": player });
  });

  it("keeps its name from becoming another service's", () => {
    const log = new Domain();
    log.put("prefix.grant", grantOf("/held", player));

    expect(log.try("service.put", serviceBody("/held"))).toBe(
      `the prefix /held is granted to ${player}; withdraw it first`,
    );
  });

  it("ends when it is withdrawn, when its service does, and when its time is over", () => {
    const log = new Domain();
    log.put("prefix.grant", grantOf("/a", player));
    log.put("prefix.grant", grantOf("/b", mallory));
    log.put("prefix.grant", grantOf("/c", player, { notAfterSeconds: foundedAtSeconds + 15 }));
    log.put("prefix.withdraw", { prefix: "/a" });
    log.put("service.remove", { name: mallory });

    expect(log.holders()).toEqual({ "/c": player });
    log.putEpoch();
    expect(log.holders()).toEqual({ "/c": player });
    log.putEpoch();
    expect(log.holders()).toEqual({});
    expect(log.try("prefix.withdraw", { prefix: "/c" })).toBe("/c is granted to nobody");
  });
});

describe("a delegation", () => {
  it("hands a part of a prefix on, and goes when the prefix does", () => {
    const log = new Domain().withHolder();
    log.put("prefix.delegate", log.signed(log.said()));

    expect(log.holders()).toEqual({ "/media": player, "/media/video": live });
    log.put("prefix.withdraw", { prefix: "/media" });
    expect(log.holders()).toEqual({});
  });

  it("is taken back by the holder of the prefix above", () => {
    const log = new Domain().withHolder();
    log.put("prefix.delegate", log.signed(log.said()));
    const { under, grant, prefix } = log.said();

    log.put("prefix.recall", log.signed({ under, grant, sequence: 2, prefix, instance }));

    expect(log.holders()).toEqual({ "/media": player });
  });

  test.each([
    ["deeper", { depthMax: 3 }, {}],
    ["longer", { notAfterSeconds: 0 }, { notAfterSeconds: foundedAtSeconds + 100 }],
    [
      "for longer than a time",
      { notAfterSeconds: foundedAtSeconds + 101 },
      { notAfterSeconds: foundedAtSeconds + 100 },
    ],
    ["of another prefix", { prefix: "/news" }, {}],
    ["of all of it", { prefix: "/media" }, {}],
    ["where it may hand nothing on", {}, { mayDelegate: false }],
  ])("is never more than the holder has: %s", (_, said, granted) => {
    const log = new Domain().withHolder(granted);

    expect(log.try("prefix.delegate", log.signed(log.said(said)))).not.toBe("none");
    expect(log.holders()).toEqual({ "/media": player });
  });

  it("makes no grant of the prefix authority's one that the holder above could take back", () => {
    const log = new Domain().withHolder();
    log.put("prefix.grant", grantOf("/media/video", live));

    expect(log.try("prefix.delegate", log.signed(log.said()))).toBe(
      "/media/video was granted by the prefix authority",
    );
    const { under, grant, prefix } = log.said();
    const recalled = log.try("prefix.recall", log.signed({ under, grant, sequence: 1, prefix, instance }));
    expect(recalled).toBe("/media/video is not handed on from /media");
    expect(log.holders()).toEqual({ "/media": player, "/media/video": live });
  });

  it("takes no service its own name", () => {
    const log = new Domain().withHolder();

    expect(log.try("prefix.delegate", log.signed(log.said({ prefix: live, holder: mallory })))).toBe(
      `${live} is a registered service, whose own name it is`,
    );
  });

  it("counts only as signed by the present key of an instance of the holder, for this log", () => {
    const log = new Domain().withHolder();
    const said = log.said();
    const { privateKey } = newSvid();
    const forged = [
      log.signed(said, log.genesis, { ...svid, privateKey }),
      log.signed(said, "another log"),
      { ...log.signed(said), holder: mallory },
    ];

    for (const body of forged)
      expect(log.try("prefix.delegate", body)).toBe("the holder's instance did not sign this");
    log.withSvid(newSvid(), 2);
    expect(log.try("prefix.delegate", log.signed(said))).toBe("the holder's instance did not sign this");
    log.put("instance.remove", { instance });
    expect(log.try("prefix.delegate", log.signed(said))).toBe(`${instance} is no instance of ${player}`);
  });

  it("counts only where the certificate shown is the instance's and in force", () => {
    const log = new Domain().withHolder();
    const { privateKey } = svid;
    const unknown = log.signed(log.said(), log.genesis, {
      certificate: certificateFor(privateKey),
      privateKey,
    });
    const ofAnother = "22222222-2222-4222-8222-222222222222";
    log.put("instance.register", { instance: ofAnother, service: player, node: "node-1", auditKey: "b" });

    expect(log.try("prefix.delegate", unknown)).toBe(`no certificate of ${instance} that is in force`);
    expect(log.try("prefix.delegate", log.signed(log.said({ instance: ofAnother })))).toBe(
      `no certificate of ${ofAnother} that is in force`,
    );
    log.put("svid.revoke", { certificate: hexSha256(svid.certificate), reason: "key-compromise" });
    expect(log.try("prefix.delegate", log.signed(log.said()))).toBe(
      `no certificate of ${instance} that is in force`,
    );
    expect(log.holders()).toEqual({ "/media": player });
  });

  it("is neither made nor taken back by an instance in quarantine", () => {
    const log = new Domain().withHolder();
    log.put("prefix.delegate", log.signed(log.said()));
    log.put("instance.quarantine", { instance, reason: "stolen", evidence: {} });
    const { under, grant } = log.said();
    const recalled = { under, grant, sequence: 2, prefix: "/media/video", instance };

    for (const [kind, said] of [
      ["prefix.delegate", log.said({ sequence: 2, prefix: "/media/other" })],
      ["prefix.recall", recalled],
    ] as const)
      expect(log.try(kind, log.signed(said))).toMatch(/^in quarantine by decision/);
    expect(log.holders()).toEqual({ "/media": player, "/media/video": live });
  });

  it("takes the number that is next and no higher one, which would leave others none", () => {
    const log = new Domain().withHolder();

    for (const sequence of [2, Number.MAX_SAFE_INTEGER])
      expect(log.try("prefix.delegate", log.signed(log.said({ sequence })))).toBe(
        `number ${sequence} under /media, where 1 is next; ask again if somebody else was faster`,
      );
    log.put("prefix.delegate", log.signed(log.said()));
    expect(log.holders()).toEqual({ "/media": player, "/media/video": live });
  });

  it("is refused where 1,024 prefixes are handed on of one grant already, at whatever depth", () => {
    const log = new Domain().withHolder();
    const row = { holder: live, depthMax: 0, mayDelegate: true, notAfterSeconds: 0, index: 1, sequence: 0 };
    for (let number = 0; number < 512; number += 1) {
      log.state.prefixes.set(`/media/p${number}`, { ...row, under: "/media" });
      log.state.prefixes.set(`/media/p${number}/q`, { ...row, under: `/media/p${number}` });
    }

    expect(log.try("prefix.delegate", log.signed(log.said()))).toBe(
      "1024 prefixes are handed on of /media, and no more can be",
    );
    // What is known already may be said anew, and what goes makes room.
    log.put("prefix.delegate", log.signed(log.said({ prefix: "/media/p0", mayDelegate: true })));
    expect(log.state.prefixes.size).toBe(1025);
    log.put("prefix.withdraw", { prefix: "/media/p1" });
    log.put("prefix.delegate", log.signed(log.said({ sequence: 2 })));
    expect(log.state.prefixes.get("/media/video")?.holder).toBe(live);
  });

  it("counts once, and not for a later grant of the same prefix", () => {
    const log = new Domain().withHolder();
    const first = log.signed(log.said());
    log.put("prefix.delegate", first);
    log.put("prefix.withdraw", { prefix: "/media/video" });

    expect(log.try("prefix.delegate", first)).toBe(
      "number 1 under /media, where 2 is next; ask again if somebody else was faster",
    );
    log.put("prefix.grant", grantOf("/media", player, { depthMax: 3, mayDelegate: true }));
    expect(log.try("prefix.delegate", first)).toBe("no such grant of /media");
  });

  it("ends where the grant above shrinks below it, and stays where it fits", () => {
    const log = new Domain().withHolder();
    log.put("prefix.delegate", log.signed(log.said()));
    log.put("prefix.grant", grantOf("/media", player, { depthMax: 2, mayDelegate: true }));
    expect(log.holders()).toEqual({ "/media": player, "/media/video": live });

    log.put("prefix.grant", grantOf("/media", player, { depthMax: 1, mayDelegate: true }));

    expect(log.holders()).toEqual({ "/media": player });
  });
});
