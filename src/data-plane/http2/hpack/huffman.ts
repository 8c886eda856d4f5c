/**
 * Lengths in bits of the codes of RFC 7541, Appendix B, for bytes 0 to 255 and the end-of-string symbol, one
 * character in base 36 each. The code is canonical: codes of one length ascend with their symbols.
 */
const codeLengths =
  "dnsssssssoussussssssssusssssssss6aacd68baa8b8666555666666678f6ca" +
  "d67777777777777777777777878djde6f56565666577666567655677777fbeds" +
  "kmkkmmmnmnnnnnonoomnonnnnlmnmnnomlkmmnnlnmmolmnnllmlnmnnkmmmnmmn" +
  "qqkjmnmpqqqrrqopjlqrrqrollqqsrrrkoklmllnmmppooqnqrqqrrrrrsrrrrrq" +
  "u";

const endOfString = 256;
const codes = new Uint32Array(257);
const lengths = Uint8Array.from(codeLengths, (digit) => Number.parseInt(digit, 36));

/**
 * Decoding looks at eight bits at a time. A tree node is 256 numbers: a symbol with the bits it took
 * (`symbol << 8 | bits`), or the next node (`node << 8 | descend`), or 0 where no code leads.
 */
const descend = 0x80;
const nodes: Uint32Array[] = [new Uint32Array(256)];

assignCodes();

/** Bytes that a text takes as Huffman code; the text is latin1. */
export function huffmanBytes(text: string): number {
  let bits = 0;
  for (let index = 0; index < text.length; index += 1) bits += lengths[text.charCodeAt(index) & 0xff] ?? 0;
  return (bits + 7) >>> 3;
}

/** Writes a latin1 text as Huffman code, padded with ones; answers with the offset after it. */
export function writeHuffman(text: string, bytes: Uint8Array, start: number): number {
  let at = start;
  let pending = 0;
  let bits = 0;
  for (let index = 0; index < text.length; index += 1) {
    const symbol = text.charCodeAt(index) & 0xff;
    let left = lengths[symbol] ?? 0;
    const code = codes[symbol] ?? 0;
    while (left > 0) {
      const taken = Math.min(left, 8 - bits);
      left -= taken;
      pending = (pending << taken) | ((code >>> left) & ((1 << taken) - 1));
      bits += taken;
      if (bits < 8) continue;
      bytes[at] = pending;
      at += 1;
      pending = 0;
      bits = 0;
    }
  }
  if (bits === 0) return at;
  bytes[at] = (pending << (8 - bits)) | (0xff >>> bits);
  return at + 1;
}

/**
 * Reads Huffman code from `bytes[start, end)` into `target`, which must hold 8/5 as many bytes; answers with their
 * count, or -1 where the code holds the end-of-string symbol or is padded otherwise than with less than eight ones
 * (RFC 7541, 5.2).
 */
export function readHuffman(bytes: Uint8Array, start: number, end: number, target: Uint8Array): number {
  let written = 0;
  let node = nodes[0];
  let pending = 0;
  let bits = 0;
  let sinceSymbol = 0;
  for (let at = start; at < end; at += 1) {
    pending = ((pending << 8) | (bytes[at] ?? 0)) & 0xffff;
    bits += 8;
    sinceSymbol += 8;
    while (bits >= 8) {
      const entry = node?.[(pending >>> (bits - 8)) & 0xff] ?? 0;
      if (entry === 0) return -1;
      if ((entry & descend) !== 0) {
        node = nodes[entry >>> 8];
        bits -= 8;
        continue;
      }
      target[written] = entry >>> 8;
      written += 1;
      bits -= entry & 0x7f;
      sinceSymbol = bits;
      node = nodes[0];
    }
  }
  return readTail({ node, pending, bits, sinceSymbol }, target, written);
}

/** Symbols may be left in the last bits; what follows them must be padding. */
function readTail(
  rest: { node: Uint32Array | undefined; pending: number; bits: number; sinceSymbol: number },
  target: Uint8Array,
  start: number,
): number {
  let { node, bits, sinceSymbol } = rest;
  let written = start;
  while (bits > 0) {
    const entry = node?.[(rest.pending << (8 - bits)) & 0xff] ?? 0;
    const taken = entry & 0x7f;
    if (entry === 0 || (entry & descend) !== 0 || taken > bits) break;
    target[written] = entry >>> 8;
    written += 1;
    bits -= taken;
    sinceSymbol = bits;
    node = nodes[0];
  }
  const ones = (1 << bits) - 1;
  return sinceSymbol < 8 && (rest.pending & ones) === ones ? written : -1;
}

function assignCodes(): void {
  const symbols = Array.from(lengths.keys());
  symbols.sort((left, right) => (lengths[left] ?? 0) - (lengths[right] ?? 0) || left - right);
  let code = 0;
  let length = 0;
  for (const symbol of symbols) {
    const bits = lengths[symbol] ?? 0;
    code <<= bits - length;
    length = bits;
    codes[symbol] = code;
    if (symbol !== endOfString) enterCode(symbol, code, bits);
    code += 1;
  }
}

function enterCode(symbol: number, code: number, bits: number): void {
  let node = nodes[0];
  let left = bits;
  while (left > 8 && node !== undefined) {
    left -= 8;
    const slot = (code >>> left) & 0xff;
    if (node[slot] === 0) node[slot] = (nodes.push(new Uint32Array(256)) - 1) * 256 + descend;
    node = nodes[(node[slot] ?? 0) >>> 8];
  }
  const first = (code << (8 - left)) & 0xff;
  node?.fill(symbol * 256 + left, first, first + (1 << (8 - left)));
}
