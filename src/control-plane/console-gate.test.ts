import { expect, it, test } from "vitest";
import { type BrowserRequest, judgeBrowserRequest } from "./console-gate.ts";

const port = 4433;
const own = `127.0.0.1:${port}`;
const code = "c".repeat(43);

/** What the address bar sends. */
const visit: BrowserRequest = {
  method: "GET",
  path: "/",
  host: own,
  origin: undefined,
  fetchSite: "none",
  contentType: undefined,
};
/** What a page of ours sends. */
const call: BrowserRequest = {
  method: "POST",
  path: "/troth.v1.Admin/GetStatus",
  host: own,
  origin: `http://${own}`,
  fetchSite: "same-origin",
  contentType: "application/json",
};

test.each<[string, BrowserRequest, string]>([
  ["the page", visit, "page"],
  ["the page, from a browser that sends no Sec-Fetch-Site", { ...visit, fetchSite: undefined }, "page"],
  ["the page by another name of loopback", { ...visit, host: `localhost:${port}` }, "page"],
  ["a one-time code", { ...visit, path: `/session/${code}` }, "code"],
  ["a call", call, "call"],
  [
    "a call by another name",
    { ...call, host: `localhost:${port}`, origin: `http://localhost:${port}` },
    "call",
  ],
  [
    "a stream",
    { ...call, path: "/troth.v1.Admin/WatchProgress", contentType: "application/connect+json" },
    "call",
  ],
  ["a call with parameters of its type", { ...call, contentType: "Application/JSON; charset=utf-8" }, "call"],
])("lets through %s", (_what, request, kind) => {
  expect(judgeBrowserRequest(request, port)).toMatchObject({ ok: true, value: { kind } });
});

test.each<[string, BrowserRequest, string]>([
  ["a name that was bound again to this machine", { ...visit, host: `evil.example:${port}` }, "foreign-host"],
  ["the right name and another port", { ...visit, host: "127.0.0.1:80" }, "foreign-host"],
  ["a longer name", { ...visit, host: `127.0.0.1:${port}.evil.example` }, "foreign-host"],
  ["no host", { ...visit, host: undefined }, "foreign-host"],
  ["a page elsewhere that posts", { ...call, origin: "https://evil.example" }, "foreign-origin"],
  ["a sandboxed page", { ...call, origin: "null" }, "foreign-origin"],
  ["another port of this machine", { ...call, origin: "http://127.0.0.1:80" }, "foreign-origin"],
  ["another scheme", { ...call, origin: `https://${own}` }, "foreign-origin"],
  ["the other name of loopback", { ...call, origin: `http://localhost:${port}` }, "foreign-origin"],
  ["a call without an origin", { ...call, origin: undefined }, "foreign-origin"],
  ["a link on a page elsewhere", { ...visit, fetchSite: "cross-site" }, "foreign-page"],
  [
    "a link to a code on a page elsewhere",
    { ...visit, path: `/session/${code}`, fetchSite: "cross-site" },
    "foreign-page",
  ],
  ["a page on another port of this machine", { ...visit, fetchSite: "same-site" }, "foreign-page"],
  ["a form", { ...call, contentType: "application/x-www-form-urlencoded" }, "wrong-content-type"],
  ["plain text", { ...call, contentType: "text/plain" }, "wrong-content-type"],
  ["no content type", { ...call, contentType: undefined }, "wrong-content-type"],
  ["a preflight", { ...call, method: "OPTIONS" }, "wrong-method"],
  ["a call by GET", { ...call, method: "GET" }, "wrong-method"],
  ["a page that is posted to", { ...call, path: "/" }, "wrong-method"],
  ["a write", { ...call, path: "/troth.v1.Admin/Append" }, "unknown-path"],
  ["an approval", { ...call, path: "/troth.v1.Admin/Approve" }, "unknown-path"],
  ["another session", { ...call, path: "/troth.v1.Admin/OpenSession" }, "unknown-path"],
  ["a call of agents", { ...call, path: "/troth.v1.Mesh/Report" }, "unknown-path"],
  ["another spelling of a path", { ...call, path: "/troth.v1.Admin/./GetStatus" }, "unknown-path"],
  ["a query", { ...visit, path: "/?x" }, "unknown-path"],
  ["a code of another length", { ...visit, path: `/session/${code}c` }, "unknown-path"],
])("refuses %s", (_what, request, reason) => {
  expect(judgeBrowserRequest(request, port)).toMatchObject({ ok: false, reason });
});

it("knows no path by which something could be changed", () => {
  for (const method of ["Append", "Propose", "Approve", "WithdrawProposal", "OpenSession"])
    expect(judgeBrowserRequest({ ...call, path: `/troth.v1.Admin/${method}` }, port).ok).toBe(false);
});
