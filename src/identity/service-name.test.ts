import fc from "fast-check";
import { describe, expect, test } from "vitest";
import {
  authorityOfServiceName,
  isControlPlane,
  nodeNameOfSpiffeId,
  parseServiceName,
  serviceNameOfAuthority,
  serviceNameOfSpiffeId,
  spiffeIdOfControlPlane,
  spiffeIdOfNode,
  spiffeIdOfService,
} from "./service-name.ts";
import { parseTrustDomain } from "./spiffe-id.ts";
import { testId, valueOf } from "./svid-for-tests.ts";

const trustDomain = valueOf(parseTrustDomain("shop.example"));

function reasonOf(text: string): string {
  const parsed = parseServiceName(text);
  return parsed.ok ? "accepted" : parsed.reason;
}

describe("a service name", () => {
  test.each([
    ["/shop", "accepted"],
    ["/shop/payments", "accepted"],
    ["/Shop/Pay_ments-2.0/...", "accepted"],
    ["/a".repeat(16), "accepted"],
    [`/${"a".repeat(63)}`, "accepted"],
    [`/${"a".repeat(63)}`.repeat(3) + `/${"a".repeat(62)}`, "accepted"],
    ["/shop/troth", "accepted"],
    ["/trothy", "accepted"],
    ["", "no-leading-slash"],
    ["shop", "no-leading-slash"],
    ["/", "trailing-slash"],
    ["/shop/", "trailing-slash"],
    ["//shop", "empty-segment"],
    ["/shop/../bank", "dot-segment"],
    ["/./shop", "dot-segment"],
    ["/sh op", "bad-path-character"],
    ["/sh%6fp", "bad-path-character"],
    ["/shöp", "bad-path-character"],
    ["/a".repeat(17), "too-many-segments"],
    [`/${"a".repeat(64)}`, "segment-too-long"],
    [`/${"a".repeat(63)}`.repeat(4), "too-long"],
    ["/troth", "reserved"],
    ["/troth/control-plane", "reserved"],
    ["/troth/node/a", "reserved"],
  ])("%s: %s", (text, reason) => {
    expect(reasonOf(text)).toBe(reason);
  });

  test("gives a SPIFFE ID and comes back from it", () => {
    const service = valueOf(parseServiceName("/shop/payments"));
    const id = spiffeIdOfService(trustDomain, service);

    expect(id).toBe("spiffe://shop.example/shop/payments");
    expect(serviceNameOfSpiffeId(id)).toBe(service);
  });

  test("does not come from a path outside its grammar", () => {
    expect(serviceNameOfSpiffeId(testId(`spiffe://shop.example${"/a".repeat(17)}`))).toBeUndefined();
    expect(serviceNameOfSpiffeId(testId("spiffe://shop.example"))).toBeUndefined();
  });
});

describe("the host name of a service", () => {
  test.each([
    ["/shop/payments", "payments.shop.mesh"],
    ["/shop", "shop.mesh"],
    ["/a/b-2/c3", "c3.b-2.a.mesh"],
  ])("of %s is %s, and back", (name, host) => {
    expect(authorityOfServiceName(valueOf(parseServiceName(name)))).toBe(host);
    expect(serviceNameOfAuthority(host)).toBe(name);
  });

  test.each([
    "/Shop",
    "/sh_op",
    "/shop/v1.0",
    "/-shop",
    "/shop-",
    `/${"a".repeat(63)}`.repeat(3) + `/${"a".repeat(62)}`,
  ])("does not exist for %s", (name) => {
    expect(authorityOfServiceName(valueOf(parseServiceName(name)))).toBeUndefined();
  });

  test.each([
    "",
    "mesh",
    ".mesh",
    "shop",
    "shop.example",
    "Shop.mesh",
    "shop.MESH",
    "shop.mesh.",
    "a..mesh",
    "a b.mesh",
    "shop.mesh:80",
    "node.troth.mesh",
    "troth.mesh",
  ])("%j stands for no service", (host) => {
    expect(serviceNameOfAuthority(host)).toBeUndefined();
  });

  test("is never the same for two services", () => {
    const label = fc.stringMatching(/^[a-z0-9]([a-z0-9-]{0,5}[a-z0-9])?$/);
    fc.assert(
      fc.property(fc.array(label, { minLength: 1, maxLength: 5 }), (labels) => {
        const name = parseServiceName(`/${labels.join("/")}`);
        fc.pre(name.ok);
        const host = authorityOfServiceName(name.value);
        return host !== undefined && serviceNameOfAuthority(host) === name.value;
      }),
    );
  });
});

describe("the mesh's own parts", () => {
  test("have IDs that no service can have", () => {
    const controlPlane = spiffeIdOfControlPlane(trustDomain);
    const node = spiffeIdOfNode(trustDomain, "node-1");

    expect([controlPlane, node]).toEqual([
      "spiffe://shop.example/troth/control-plane",
      "spiffe://shop.example/troth/node/node-1",
    ]);
    expect(serviceNameOfSpiffeId(controlPlane)).toBeUndefined();
  });

  test("are told apart by their IDs", () => {
    expect(isControlPlane(spiffeIdOfControlPlane(trustDomain))).toBe(true);
    expect(isControlPlane(testId("spiffe://shop.example/troth/control-plane/x"))).toBe(false);
    expect(nodeNameOfSpiffeId(testId("spiffe://shop.example/troth/node/node-1"))).toBe("node-1");
    expect(nodeNameOfSpiffeId(testId("spiffe://shop.example/troth/node/a/b"))).toBeUndefined();
    expect(nodeNameOfSpiffeId(testId("spiffe://shop.example/shop/payments"))).toBeUndefined();
  });

  test.each(["", "a/b", "..", "a b", "n".repeat(64)])("include no node named %j", (name) => {
    expect(spiffeIdOfNode(trustDomain, name)).toBeUndefined();
  });
});
