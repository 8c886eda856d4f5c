import type { RequestListener } from "node:http";
import https from "node:https";
import type { AddressInfo } from "node:net";
import { afterEach, expect, it } from "vitest";
import { edgeCertificate } from "../../../test/apparatus/edge-certificate.ts";
import { makePapers } from "../../../test/apparatus/hostile-peer.ts";
import { testDomain, testId, testWorld } from "../../identity/svid-for-tests.ts";
import { type EndpointCheck, fetchBundle } from "./fetch-bundle.ts";

const nowSeconds = Math.floor(new Date().getTime() / 1000);
const other = testDomain("other.example", testWorld(nowSeconds));
const stranger = testDomain("other.example", testWorld(nowSeconds));
const endpointId = "spiffe://other.example/bundle-endpoint";
const web = edgeCertificate("localhost");
const spiffe: EndpointCheck = { profile: "https_spiffe", spiffeId: testId(endpointId), bundle: other.bundle };
const webCheck: EndpointCheck = { profile: "https_web", extraAuthorities: web.chainPem };
const servers: https.Server[] = [];

afterEach(() => {
  for (const server of servers.splice(0)) server.close().closeAllConnections();
});

/** Serves with a certificate; answers with an empty bundle unless told otherwise. */
async function serve(
  papers: { readonly cert: string; readonly key: string },
  answer: RequestListener = (_, response) => response.end('{"keys":[],"spiffe_sequence":7}'),
): Promise<number> {
  const server = https.createServer(papers, answer);
  servers.push(server);
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  const address: AddressInfo | string | null = server.address();
  return typeof address === "object" && address !== null ? address.port : 0;
}

async function fetched(url: string, check: EndpointCheck): Promise<string> {
  const { signal } = new AbortController();
  const bundle = await fetchBundle({ trustDomain: other.trustDomain, url, check, nowSeconds, signal });
  return bundle.ok ? `sequence ${bundle.value.sequence}` : bundle.reason;
}

const webPapers = { cert: web.chainPem, key: web.keyPem };
const ownPapers = makePapers(other.issuer, [endpointId]);

it("takes a bundle from the endpoint with exactly the SPIFFE ID, under that trust domain's bundle", async () => {
  const port = await serve(ownPapers);

  expect(await fetched(`https://localhost:${port}/`, spiffe)).toBe("sequence 7");
  // The name in the URL says nothing here.
  expect(await fetched(`https://127.0.0.1:${port}/any?where`, spiffe)).toBe("sequence 7");
});

it.each([
  ["another SPIFFE ID of the trust domain", makePapers(other.issuer, ["spiffe://other.example/web"])],
  ["the SPIFFE ID under a CA that is not in the bundle", makePapers(stranger.issuer, [endpointId])],
  [
    "an SVID that has expired",
    makePapers(other.issuer, [endpointId], {
      notBeforeSeconds: nowSeconds - 60,
      notAfterSeconds: nowSeconds - 9,
    }),
  ],
  ["a certificate of the public web", webPapers],
])("asks nothing of an endpoint with %s", async (_name, papers) => {
  let asked = 0;
  const port = await serve(papers, (_request, response) => {
    asked += 1;
    response.end('{"keys":[]}');
  });

  expect(await fetched(`https://localhost:${port}/`, spiffe)).toBe("endpoint-not-trusted");
  expect(asked).toBe(0);
});

it("takes a bundle over https_web from the host that the certificate names, under a CA that is trusted", async () => {
  const port = await serve(webPapers);

  expect(await fetched(`https://localhost:${port}/`, webCheck)).toBe("sequence 7");
  expect(await fetched(`https://127.0.0.1:${port}/`, webCheck)).toBe("endpoint-not-trusted");
  expect(await fetched(`https://localhost:${port}/`, { profile: "https_web" })).toBe("endpoint-not-trusted");
});

it("follows redirects under the same rules, and only so many", async () => {
  const place = { to: "" };
  const port = await serve(ownPapers, ({ url }, response) => {
    if (url === "/end") response.end('{"keys":[],"spiffe_sequence":8}');
    else response.writeHead(302, { location: place.to }).end();
  });
  const impostor = await serve(makePapers(stranger.issuer, [endpointId]));
  const through = (to: string): Promise<string> => {
    place.to = to;
    return fetched(`https://localhost:${port}/`, spiffe);
  };

  expect(await through("/end")).toBe("sequence 8");
  expect(await through("/again")).toBe("too-many-redirects");
  expect(await through(`https://localhost:${impostor}/`)).toBe("endpoint-not-trusted");
  expect(await through(`http://localhost:${port}/end`)).toBe("bad-url");
  expect(await through(`https://me:secret@localhost:${port}/end`)).toBe("bad-url");
  expect(await through("")).toBe("too-many-redirects");
});

it("takes nothing but 200 for an answer", async () => {
  const port = await serve(ownPapers, (_, response) => response.writeHead(500).end('{"keys":[]}'));

  expect(await fetched(`https://localhost:${port}/`, spiffe)).toBe("unexpected-status");
});

it.each([
  ["more than a bundle may hold", Buffer.alloc(65_537, " "), "too-large"],
  ["bytes that are not UTF-8", Buffer.of(0x7b, 0xff, 0x7d), "not-utf-8"],
  ["a page", Buffer.from("<html>"), "malformed-json"],
])("refuses %s", async (_name, body, reason) => {
  const port = await serve(ownPapers, (_request, response) => response.end(body));

  expect(await fetched(`https://localhost:${port}/`, spiffe)).toBe(reason);
});

it("says that nobody is there", async () => {
  expect(await fetched("https://127.0.0.1:1/", spiffe)).toBe("unreachable");
});
