import { expect, test } from "vitest";
import { defaultHttp1Limits, headerLines, noEdits, scanRequestHead } from "../http1/index.ts";
import { LineFields } from "./line-fields.ts";

test("a line seen before is the same field again, but a credential is not kept beyond its request", () => {
  const lines = new LineFields();
  const text = "GET /a HTTP/1.1\r\nHost: a\r\nX-A: 1\r\nAuthorization: Bearer b\r\nCookie: c\r\n\r\n";
  const window = Buffer.from(text, "latin1");
  const head = scanRequestHead(window, 0, window.length, defaultHttp1Limits);
  if (head.kind !== "head") throw new Error(head.kind);
  const edits = {
    ...noEdits,
    add: headerLines([
      ["Troth-Call", "secret"],
      ["X-B", "2"],
    ]),
  };
  const first = lines.request(head, edits);
  const second = lines.request(head, edits);

  const again = first.filter((field, place) => second[place] === field).map(({ name }) => name);
  expect(second.map(({ name, value }) => [name, value])).toEqual(
    first.map(({ name, value }) => [name, value]),
  );
  expect(again).toEqual([":method", ":scheme", ":authority", ":path", "x-a", "x-b"]);
});

test("a field is the same object again while it is known, 512 are known at most, and credentials are not", () => {
  const lines = new LineFields();
  const one = (name: string, value: string): unknown => lines.trailers([{ name, value }])[0];
  const known = one("x-known", "1");
  const secret = one("authorization", "1");
  const before = [one("x-known", "1") === known, one("authorization", "1") === secret];
  for (let place = 0; place < 512; place += 1) one("x-other", String(place));

  expect(before).toEqual([true, false]);
  expect(one("x-known", "1")).not.toBe(known);
});
