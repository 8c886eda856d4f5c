import fc from "fast-check";
import { expect, it } from "vitest";
import { requestDigest, requestDigester } from "./request-digest.ts";

const digestedBy = (
  write: ReturnType<typeof requestDigester>,
  request: Parameters<typeof requestDigest>[0],
) => {
  const target = Buffer.alloc(34, 7);
  write(request, target, 1);
  return target;
};

const framed = (digest: Uint8Array) => Buffer.concat([Buffer.of(7), digest, Buffer.of(7)]);

it("writes the digest of each request, whatever was asked for before", () => {
  // Few values, so that neighbours often differ in one part alone, or in none.
  const text = fc.constantFrom("", "/a", "/b", "x".repeat(2_000));
  const request = fc.record({ method: text, destination: text, path: text, contentDigest: text });
  fc.assert(
    fc.property(fc.array(request, { minLength: 2, maxLength: 20 }), (requests) => {
      const write = requestDigester();
      for (const one of requests) expect(digestedBy(write, one)).toEqual(framed(requestDigest(one)));
    }),
  );
});

it("tells requests apart that differ in one part alone", () => {
  const request = { method: "GET", destination: "/a", path: "/b", contentDigest: "" };
  const others = [
    { ...request, method: "PUT" },
    { ...request, destination: "/c" },
    { ...request, path: "/c" },
    { ...request, contentDigest: "c" },
  ];
  for (const other of others) {
    const write = requestDigester();
    digestedBy(write, request);
    expect(digestedBy(write, { ...request })).toEqual(framed(requestDigest(request)));
    expect(digestedBy(write, other)).toEqual(framed(requestDigest(other)));
  }
});
