/** How many bytes the key of {@link halfSipHash} has. */
export const halfSipKeyBytes = 8;

/**
 * HalfSipHash-1-3 (Aumasson and Bernstein's SipHash on 32-bit words) of whole words: an unsigned 32-bit number that somebody
 * who does not know the key cannot aim at. For hash tables only.
 */
export function halfSipHash(key: Uint32Array, words: Uint32Array): number {
  const k0 = key[0] ?? 0;
  const k1 = key[1] ?? 0;
  let v0 = k0;
  let v1 = k1;
  let v2 = k0 ^ 0x6c_79_67_65;
  let v3 = k1 ^ 0x74_65_64_62;
  const blocks = words.length + 1;
  for (let round = 0; round < blocks + lastRounds; round += 1) {
    // The block behind the words holds nothing but the length. Then come rounds without a block.
    const block = round < words.length ? (words[round] ?? 0) : (words.length * 4) << 24;
    if (round < blocks) v3 ^= block;
    else if (round === blocks) v2 ^= 0xff;
    v0 = (v0 + v1) | 0;
    v1 = ((v1 << 5) | (v1 >>> 27)) ^ v0;
    v0 = (v0 << 16) | (v0 >>> 16);
    v2 = (v2 + v3) | 0;
    v3 = ((v3 << 8) | (v3 >>> 24)) ^ v2;
    v0 = (v0 + v3) | 0;
    v3 = ((v3 << 7) | (v3 >>> 25)) ^ v0;
    v2 = (v2 + v1) | 0;
    v1 = ((v1 << 13) | (v1 >>> 19)) ^ v2;
    v2 = (v2 << 16) | (v2 >>> 16);
    if (round < blocks) v0 ^= block;
  }
  return (v1 ^ v3) >>> 0;
}

const lastRounds = 3;
