/** A text and whether it is a SPIFFE ID: "accepted", or the reason why not. */
export interface SpiffeIdCase {
  readonly name: string;
  readonly text: string;
  readonly verdict: string;
  /** Why another implementation may accept what is refused here. */
  readonly stricter?: string;
}

const inTrustDomain = /[a-z0-9._-]/;
const inPath = /[A-Za-z0-9._-]/;

/** The rules of SPIFFE-ID section 2 by example: each of the first 256 characters in the trust domain and in the path too. */
export function spiffeIdCases(): readonly SpiffeIdCase[] {
  return [...namedCases(), ...characterCases()];
}

function characterCases(): readonly SpiffeIdCase[] {
  return Array.from({ length: 256 }, (_, code) => String.fromCharCode(code)).flatMap((character) => [
    {
      name: `${JSON.stringify(character)} in a trust domain`,
      text: `spiffe://shop${character}example/payments`,
      // What follows a slash is the path, in which both parts are well.
      verdict: inTrustDomain.test(character) || character === "/" ? "accepted" : "bad-trust-domain-character",
    },
    {
      name: `${JSON.stringify(character)} in a path`,
      text: `spiffe://shop.example/pay${character}ments`,
      verdict: inPath.test(character) || character === "/" ? "accepted" : "bad-path-character",
    },
  ]);
}

function namedCases(): readonly SpiffeIdCase[] {
  const rows: readonly (readonly [text: string, verdict: string, stricter?: string])[] = [
    ["spiffe://shop.example", "accepted"],
    ["spiffe://shop.example/a/b", "accepted"],
    ["spiffe://10.0.0.1/a", "accepted"],
    ["spiffe://-/a", "accepted"],
    ["spiffe://shop.example/...", "accepted"],
    ["spiffe://shop.example/.x", "accepted"],
    [`spiffe://${"a".repeat(255)}/a`, "accepted"],
    [`spiffe://shop.example/${"a".repeat(2048 - 22)}`, "accepted"],
    ["", "scheme-missing"],
    ["shop.example/a", "scheme-missing"],
    ["Spiffe://shop.example/a", "scheme-missing"],
    ["spiffe:/shop.example/a", "scheme-missing"],
    ["https://shop.example/a", "scheme-missing"],
    [" spiffe://shop.example/a", "scheme-missing"],
    ["spiffe://", "trust-domain-missing"],
    ["spiffe:///a", "trust-domain-missing"],
    ["spiffe://Shop.example/a", "bad-trust-domain-character"],
    ["spiffe://user@shop.example/a", "bad-trust-domain-character"],
    ["spiffe://user:pass@shop.example/a", "bad-trust-domain-character"],
    ["spiffe://shop.example:8080/a", "bad-trust-domain-character"],
    ["spiffe://shop%2eexample/a", "bad-trust-domain-character"],
    ["spiffe://[::1]/a", "bad-trust-domain-character"],
    ["spiffe://shop.example?query", "bad-trust-domain-character"],
    ["spiffe://shop.example#fragment", "bad-trust-domain-character"],
    ["spiffe://sh\u00f6p.example/a", "bad-trust-domain-character"],
    ["spiffe://\u0455hop.example/a", "bad-trust-domain-character"],
    ["spiffe://shop.example/", "trailing-slash"],
    ["spiffe://shop.example/a/", "trailing-slash"],
    ["spiffe://shop.example//a", "empty-segment"],
    ["spiffe://shop.example/a//b", "empty-segment"],
    ["spiffe://shop.example/.", "dot-segment"],
    ["spiffe://shop.example/..", "dot-segment"],
    ["spiffe://shop.example/a/../b", "dot-segment"],
    ["spiffe://shop.example/./b", "dot-segment"],
    ["spiffe://shop.example/a?query", "bad-path-character"],
    ["spiffe://shop.example/a#fragment", "bad-path-character"],
    ["spiffe://shop.example/%61", "bad-path-character"],
    ["spiffe://shop.example/a\\b", "bad-path-character"],
    ["spiffe://shop.example/a\n", "bad-path-character"],
    ["spiffe://shop.example/a\u0000", "bad-path-character"],
    ["spiffe://shop.example/\uff0e\uff0e/a", "bad-path-character"],
    [
      `spiffe://${"a".repeat(256)}/a`,
      "trust-domain-too-long",
      "SPIFFE-ID 2.1: a trust domain has at most 255 bytes",
    ],
    [
      `spiffe://shop.example/${"a".repeat(2048 - 21)}`,
      "too-long",
      "SPIFFE-ID 2.3: 2048 bytes are to be supported, and no more",
    ],
  ];
  return rows.map(([text, verdict, stricter]) => ({
    name: JSON.stringify(text.length > 60 ? `${text.slice(0, 57)}...` : text),
    text,
    verdict,
    ...(stricter === undefined ? {} : { stricter }),
  }));
}
