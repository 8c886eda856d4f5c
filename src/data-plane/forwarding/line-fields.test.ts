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
