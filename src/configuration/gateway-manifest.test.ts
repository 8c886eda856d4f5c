import { describe, expect, it } from "vitest";
import { bytesOf } from "../base/bytes.ts";
import { readGateway } from "./gateway-manifest.ts";
import { formatProblem } from "./problem.ts";
import { readManifests } from "./read-manifests.ts";

const tls = "tls: [{certificate: c.pem, key: k.pem}]";

function gateway(listeners: string, routes: string, more = ""): string {
  return `apiVersion: troth/v1\nkind: Gateway\nmetadata: {name: /edge/gateway}\nspec:\n  listeners: ${listeners}\n  routes: ${routes}\n${more}`;
}

function problemsIn(text: string): string[] {
  const { problems } = readGateway({ name: "g.yaml", bytes: bytesOf(text) });
  return problems.map((problem) => formatProblem(problem).replace(/^g\.yaml:/, ""));
}

const loopback = "[{address: 127.0.0.1:80}]";
const web = "[{hosts: [shop.example], service: /shop/web}]";

it("a gateway without problems has what was left out", () => {
  const { document, problems } = readGateway({ name: "g.yaml", bytes: bytesOf(gateway(loopback, web)) });

  expect(problems).toEqual([]);
  expect(document?.gateway.spec).toEqual({
    listeners: [{ address: "127.0.0.1:80" }],
    routes: [{ hosts: ["shop.example"], pathPrefix: "/", service: "/shop/web", stripPrefix: false }],
    limits: {},
  });
});

describe("a gateway is refused", () => {
  it.each([
    [
      "that would speak plain HTTP with the world",
      gateway("[{address: 0.0.0.0:80}]", web),
      "5:25: spec.listeners[0].address: plain HTTP is for loopback only; give 0.0.0.0:80 certificates with tls, or redirectToHttpsPort",
    ],
    [
      "that would redirect where it has a certificate",
      gateway(`[{address: 0.0.0.0:443, ${tls}, redirectToHttpsPort: 443}]`, web),
      "5:100: spec.listeners[0].redirectToHttpsPort: a listener with tls cannot redirect; remove one",
    ],
    [
      "that listens twice",
      gateway("[{address: 127.0.0.1:80}, {address: 127.0.0.1:80}]", web),
      "5:50: spec.listeners[1].address: written twice; the first is spec.listeners[0]",
    ],
    [
      "with two routes for one place",
      gateway(loopback, "[{hosts: [a.b], service: /x}, {hosts: [a.b], service: /y}]"),
      "6:50: spec.routes[1].hosts[0]: second route for a.b/, after spec.routes[0].hosts[0]; a host and prefix have one",
    ],
    [
      "with a host that no request has",
      gateway(loopback, "[{hosts: [Shop.Example], service: /x}]"),
      '6:21: spec.routes[0].hosts[0]: expected a host in small letters such as shop.example, "*.shop.example" for one label more, or "*", got "Shop.Example"',
    ],
    [
      "with a prefix that no request has",
      gateway(loopback, "[{hosts: [a.b], pathPrefix: /a/, service: /x}]"),
      '6:39: spec.routes[0].pathPrefix: expected / or a path such as /api, without a slash at its end, ?, // and /../, got "/a/"',
    ],
    [
      "with no address",
      gateway("[{address: '127.0.0.1:99999'}]", web),
      '5:25: spec.listeners[0].address: expected an address such as 0.0.0.0:8443, got "127.0.0.1:99999"',
    ],
    [
      "with a field that it does not have",
      gateway("[{adress: 127.0.0.1:80}]", web),
      '5:16: spec.listeners[0].adress: unknown field (did you mean "address"?)',
    ],
    [
      "of another kind",
      "apiVersion: troth/v1\nkind: Service\n",
      '2:7: kind: expected "Gateway", got "Service"',
    ],
    [
      "that is two",
      `${gateway(loopback, web)}---\n${gateway(loopback, web)}`,
      "8:1: expected one object of kind Gateway, got a second",
    ],
    ["that is nothing", "# later\n", "1:1: expected an object of kind Gateway, got nothing"],
  ])("%s", (_, text, problem) => {
    expect(problemsIn(text)).toContain(problem);
  });
});

it("a gateway is not applied to the mesh", () => {
  const { problems } = readManifests([{ name: "g.yaml", bytes: bytesOf(gateway(loopback, web)) }]);

  expect(problems.map(({ message }) => message)).toEqual([
    "Gateway is read by troth gateway --file, and not applied",
  ]);
});
