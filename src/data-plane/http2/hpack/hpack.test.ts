import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { OutputBuffer } from "../output-buffer.ts";
import { type HeaderField, headerField } from "./header-field.ts";
import { type HeaderListLimits, HpackDecoder } from "./hpack-decoder.ts";
import { HpackEncoder } from "./hpack-encoder.ts";
import { huffmanBytes, readHuffman, writeHuffman } from "./huffman.ts";
import { staticTable } from "./static-table.ts";

const roomy: HeaderListLimits = { headerListBytesMax: 64 * 1024, headerFieldsMax: 100 };

/** The examples of RFC 7541, Appendix C.2 to C.6: each block, its list, and the size of the table after it. */
const examples: readonly { name: string; tableBytes: number; blocks: readonly [string, string, number][] }[] =
  [
    {
      name: "C.2.1",
      tableBytes: 4096,
      blocks: [["400a637573746f6d2d6b65790d637573746f6d2d686561646572", "custom-key: custom-header", 55]],
    },
    { name: "C.2.2", tableBytes: 4096, blocks: [["040c2f73616d706c652f70617468", ":path: /sample/path", 0]] },
    {
      name: "C.2.3",
      tableBytes: 4096,
      blocks: [["100870617373776f726406736563726574", "password: secret", 0]],
    },
    { name: "C.2.4", tableBytes: 4096, blocks: [["82", ":method: GET", 0]] },
    {
      name: "C.3, requests without Huffman coding",
      tableBytes: 4096,
      blocks: [
        [
          "828684410f7777772e6578616d706c652e636f6d",
          ":method: GET|:scheme: http|:path: /|:authority: www.example.com",
          57,
        ],
        [
          "828684be58086e6f2d6361636865",
          ":method: GET|:scheme: http|:path: /|:authority: www.example.com|cache-control: no-cache",
          110,
        ],
        [
          "828785bf400a637573746f6d2d6b65790c637573746f6d2d76616c7565",
          ":method: GET|:scheme: https|:path: /index.html|:authority: www.example.com|custom-key: custom-value",
          164,
        ],
      ],
    },
    {
      name: "C.4, requests with Huffman coding",
      tableBytes: 4096,
      blocks: [
        [
          "828684418cf1e3c2e5f23a6ba0ab90f4ff",
          ":method: GET|:scheme: http|:path: /|:authority: www.example.com",
          57,
        ],
        [
          "828684be5886a8eb10649cbf",
          ":method: GET|:scheme: http|:path: /|:authority: www.example.com|cache-control: no-cache",
          110,
        ],
        [
          "828785bf408825a849e95ba97d7f8925a849e95bb8e8b4bf",
          ":method: GET|:scheme: https|:path: /index.html|:authority: www.example.com|custom-key: custom-value",
          164,
        ],
      ],
    },
    {
      name: "C.5, responses without Huffman coding in a table of 256 bytes",
      tableBytes: 256,
      blocks: [
        [
          "4803333032580770726976617465611d4d6f6e2c203231204f637420323031332032303a31333a323120474d546e1768747470733a2f2f7777772e6578616d706c652e636f6d",
          ":status: 302|cache-control: private|date: Mon, 21 Oct 2013 20:13:21 GMT|location: https://www.example.com",
          222,
        ],
        [
          "4803333037c1c0bf",
          ":status: 307|cache-control: private|date: Mon, 21 Oct 2013 20:13:21 GMT|location: https://www.example.com",
          222,
        ],
        [
          "88c1611d4d6f6e2c203231204f637420323031332032303a31333a323220474d54c05a04677a69707738666f6f3d4153444a4b48514b425a584f5157454f50495541585157454f49553b206d61782d6167653d333630303b2076657273696f6e3d31",
          ":status: 200|cache-control: private|date: Mon, 21 Oct 2013 20:13:22 GMT|location: https://www.example.com|content-encoding: gzip|set-cookie: foo=ASDJKHQKBZXOQWEOPIUAXQWEOIU; max-age=3600; version=1",
          215,
        ],
      ],
    },
    {
      name: "C.6, responses with Huffman coding in a table of 256 bytes",
      tableBytes: 256,
      blocks: [
        [
          "488264025885aec3771a4b6196d07abe941054d444a8200595040b8166e082a62d1bff6e919d29ad171863c78f0b97c8e9ae82ae43d3",
          ":status: 302|cache-control: private|date: Mon, 21 Oct 2013 20:13:21 GMT|location: https://www.example.com",
          222,
        ],
        [
          "4883640effc1c0bf",
          ":status: 307|cache-control: private|date: Mon, 21 Oct 2013 20:13:21 GMT|location: https://www.example.com",
          222,
        ],
        [
          "88c16196d07abe941054d444a8200595040b8166e084a62d1bffc05a839bd9ab77ad94e7821dd7f2e6c7b335dfdfcd5b3960d5af27087f3672c1ab270fb5291f9587316065c003ed4ee5b1063d5007",
          ":status: 200|cache-control: private|date: Mon, 21 Oct 2013 20:13:22 GMT|location: https://www.example.com|content-encoding: gzip|set-cookie: foo=ASDJKHQKBZXOQWEOPIUAXQWEOIU; max-age=3600; version=1",
          215,
        ],
      ],
    },
  ];

describe("the decoder", () => {
  test.each(examples)("reads RFC 7541, $name", ({ tableBytes, blocks }) => {
    const decoder = new HpackDecoder(tableBytes, roomy);

    for (const [hex, list, bytes] of blocks) {
      expect(asText(decode(decoder, hex))).toBe(list);
      expect(decoder.dynamicTableBytes).toBe(bytes);
    }
  });

  test.each([
    ["an index of zero", "80", "index-invalid"],
    ["an index behind both tables", "be", "index-invalid"],
    ["a name behind both tables", "7e0161", "index-invalid"],
    ["an index that goes on for ever", "ffffffffffff", "integer-too-large"],
    ["an index of more than 28 further bits", "ff8080808001", "integer-too-large"],
    ["an integer that is cut off", "ff80", "truncated"],
    ["a name that is cut off", "40", "truncated"],
    ["a name longer than the block", "400361", "string-too-long"],
    ["a value that is not there", "400161", "truncated"],
    ["a value of a length of gigabytes", "4001617fffffff07", "string-too-long"],
    ["Huffman code padded with zeros", "4001618100", "huffman-invalid"],
    ["Huffman code padded with eight ones", "400161821fff", "huffman-invalid"],
    ["the end-of-string symbol", "40016184ffffffff", "huffman-invalid"],
    ["a larger table than allowed", "3fe21f", "table-size-update-too-large"],
    ["a size update behind a field", "8220", "table-size-update-misplaced"],
  ])("refuses %s", (_, hex, reason) => {
    const decoder = new HpackDecoder(4096, roomy);

    expect(decode(decoder, hex)).toBeUndefined();
    expect(decoder.refusal).toBe(reason);
  });

  test("empties its table for a field that is larger than the table", () => {
    const decoder = new HpackDecoder(64, roomy);

    decode(decoder, "4001610162");
    expect(decoder.dynamicTableBytes).toBe(34);
    decode(decoder, `40016128${"63".repeat(40)}`);

    expect(decoder.dynamicTableBytes).toBe(0);
    expect(decode(decoder, "be")).toBeUndefined();
  });

  test("keeps its table in step over a list that is too large, and holds none of it", () => {
    const decoder = new HpackDecoder(4096, { headerListBytesMax: 5_000, headerFieldsMax: 100 });
    const bomb = `400161${hexOf([0x7f, 0xa1, 0x1e])}${"62".repeat(4_000)}${"be".repeat(10_000)}`;

    const fields = decode(decoder, bomb);

    expect([decoder.isOversize, fields?.length]).toEqual([true, 1]);
    expect(asText(decode(decoder, "be"))).toBe(`a: ${"b".repeat(4_000)}`);
    expect(decoder.isOversize).toBe(false);
  });

  test("counts fields as well as bytes", () => {
    const decoder = new HpackDecoder(4096, { headerListBytesMax: 100_000, headerFieldsMax: 3 });

    expect(decode(decoder, "828486")).toHaveLength(3);
    expect(decoder.isOversize).toBe(false);
    expect(decode(decoder, "82848687")).toHaveLength(3);
    expect(decoder.isOversize).toBe(true);
  });

  test("never throws and never loses count, whatever the bytes", () => {
    fc.assert(
      fc.property(fc.array(fc.uint8Array({ maxLength: 60 }), { maxLength: 5 }), (blocks) => {
        const decoder = new HpackDecoder(256, { headerListBytesMax: 500, headerFieldsMax: 5 });
        for (const block of blocks) {
          decoder.decode(Buffer.from(block), 0, block.length);
          expect(decoder.dynamicTableBytes).toBeGreaterThanOrEqual(0);
          expect(decoder.dynamicTableBytes).toBeLessThanOrEqual(256);
        }
      }),
      { numRuns: 2_000 },
    );
  });
});

describe("the encoder", () => {
  test("is understood by the decoder for any lists, limits and sizes of the table, and both tables stay the same", () => {
    const field = fc
      .tuple(
        fc.constantFrom(":path", "a", "cookie", "content-length", "x-long-name", "date", "te"),
        fc.oneof(
          fc.constantFrom("", "x", "trailers", "y".repeat(100)),
          fc.stringMatching(/^[!-~\x80-\xff]{1,80}$/),
        ),
      )
      .map(([name, value]) => headerField(name, value));
    const step = fc.record({ size: fc.option(fc.constantFrom(0, 40, 200, 4096)), fields: fc.array(field) });
    fc.assert(
      fc.property(fc.array(step, { maxLength: 8 }), (steps) => {
        const decoder = new HpackDecoder(4096, roomy);
        const encoder = new HpackEncoder(4096);
        for (const { size, fields } of steps) {
          if (size !== null) encoder.allowTableBytes(size);
          const block = encode(encoder, fields);
          expect(asText(decoder.decode(block, 0, block.length))).toBe(asText(fields));
          expect(decoder.dynamicTableBytes).toBe(encoder.dynamicTableBytes);
        }
      }),
      { numRuns: 500 },
    );
  });

  test("writes a list that it has written before as one byte a field", () => {
    const encoder = new HpackEncoder(4096);
    const fields = [
      headerField(":method", "GET"),
      headerField("x-a", "1"),
      headerField("accept", "text/plain"),
    ];

    encode(encoder, fields);

    expect(encode(encoder, fields)).toHaveLength(3);
    expect(
      encode(
        encoder,
        fields.map(({ name, value }) => headerField(name, value)),
      ),
    ).toHaveLength(3);
  });

  test.each(["authorization", "proxy-authorization", "cookie", "set-cookie", "troth-request-token"])(
    "never lets %s into a table, and says so to whoever forwards it",
    (name) => {
      const encoder = new HpackEncoder(4096);
      const fields = [headerField(name, "secret")];

      const [first, second] = [encode(encoder, fields), encode(encoder, fields)];

      expect(encoder.dynamicTableBytes).toBe(0);
      expect(second).toEqual(first);
      expect((first[0] ?? 0) & 0xf0).toBe(0x10);
    },
  );

  test("keeps never-indexed what came so", () => {
    const received = new HpackDecoder(4096, roomy).decode(Buffer.from("1001610162", "hex"), 0, 5);

    expect(encode(new HpackEncoder(4096), received ?? []).toString("hex")).toBe("1001610162");
  });

  test("lets a value that changes often into the table when it comes twice in a row", () => {
    const encoder = new HpackEncoder(4096);
    const sizes = ["/1", "/2", "/2", "/2"].map(
      (path) => encode(encoder, [headerField(":path", path)]).length,
    );

    expect([sizes[3], encoder.dynamicTableBytes]).toEqual([1, 39]);
  });

  test("announces a table that shrank and grew between two blocks with both sizes", () => {
    const encoder = new HpackEncoder(4096);
    encoder.allowTableBytes(0);
    encoder.allowTableBytes(100);

    expect(encode(encoder, [headerField(":method", "GET")]).toString("hex")).toBe("203f4582");
  });

  test("refuses to make a field of a name or value that none may have", () => {
    for (const [name, value] of [
      ["X-Upper", "a"],
      ["a b", "a"],
      ["", "a"],
      ["a", "b\r\nc: d"],
      ["a", "b\nc"],
      ["a", "b\0"],
      ["a", " b"],
      ["a", "b\t"],
    ] as const)
      expect(() => headerField(name, value)).toThrow("not a header field");
  });
});

describe("Huffman code", () => {
  test("gives back every text of latin1", () => {
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 200 }), (bytes) => {
        const text = Buffer.from(bytes).toString("latin1");
        const coded = Buffer.alloc(huffmanBytes(text));
        expect(writeHuffman(text, coded, 0)).toBe(coded.length);
        const target = Buffer.alloc(coded.length * 2);
        expect(target.toString("latin1", 0, readHuffman(coded, 0, coded.length, target))).toBe(text);
      }),
      { numRuns: 3_000 },
    );
  });

  test("has one spelling a text: what is read without complaint is written the same", () => {
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 12 }), (coded) => {
        const target = Buffer.alloc(64);
        const length = readHuffman(coded, 0, coded.length, target);
        if (length < 0) return;
        const again = Buffer.alloc(coded.length);
        writeHuffman(target.toString("latin1", 0, length), again, 0);
        expect(again).toEqual(Buffer.from(coded));
      }),
      { numRuns: 20_000 },
    );
  });
});

test("the static table is that of RFC 7541, Appendix A, at the places that are easily shifted", () => {
  expect(staticTable).toHaveLength(61);
  expect([1, 2, 8, 14, 16, 17, 32, 58, 61].map((index) => asText([staticTable[index - 1]]))).toEqual([
    ":authority: ",
    ":method: GET",
    ":status: 200",
    ":status: 500",
    "accept-encoding: gzip, deflate",
    "accept-language: ",
    "cookie: ",
    "user-agent: ",
    "www-authenticate: ",
  ]);
});

function decode(decoder: HpackDecoder, hex: string): HeaderField[] | undefined {
  const block = Buffer.from(hex, "hex");
  return decoder.decode(block, 0, block.length);
}

function encode(encoder: HpackEncoder, fields: readonly HeaderField[]): Buffer {
  const output = new OutputBuffer(64);
  encoder.encode(fields, output);
  return Buffer.from(output.take());
}

function asText(fields: readonly (HeaderField | undefined)[] | undefined): string | undefined {
  return fields?.map((field) => `${field?.name}: ${field?.value}`).join("|");
}

function hexOf(bytes: readonly number[]): string {
  return Buffer.from(bytes).toString("hex");
}
