// The uniform numbers of NumPy's `default_rng(seed)`, so that a seed gives the text of `rnntk sample --seed`.
//
// PCG64 (O'Neill, 2014), seeded through NumPy's SeedSequence.

const MASK64 = (1n << 64n) - 1n;
const MASK128 = (1n << 128n) - 1n;
const MULTIPLIER = 0x2360ed051fc65da44385df649fccf645n;

// SeedSequence's hash, whose constant changes with each value.
function hash(constant, multiplier) {
  let own = constant;
  return (value) => {
    let found = value ^ own;
    own = Math.imul(own, multiplier);
    found = Math.imul(found, own);
    return found ^ (found >>> 16);
  };
}

function mix(x, y) {
  const found = (Math.imul(0xca01f9dd, x) - Math.imul(0x4973f715, y)) | 0;
  return found ^ (found >>> 16);
}

// Four 64-bit words from a seed below 2 ** 32.
function seedWords(seed) {
  const enter = hash(0x43b0d7e5, 0x931e8875);
  const pool = [seed, 0, 0, 0].map(enter);
  for (let from = 0; from < 4; from += 1) {
    for (let to = 0; to < 4; to += 1) if (from !== to) pool[to] = mix(pool[to], enter(pool[from]));
  }
  const leave = hash(0x8b51f9dd, 0x58f38ded);
  const words = Array.from({ length: 8 }, (_, k) => BigInt(leave(pool[k % 4]) >>> 0));
  return [0, 2, 4, 6].map((k) => words[k] | (words[k + 1] << 32n));
}

// Returns a generator function of uniform numbers in [0, 1).
export function uniforms(seed) {
  const [high, low, streamHigh, streamLow] = seedWords(seed);
  const increment = ((((streamHigh << 64n) | streamLow) << 1n) | 1n) & MASK128;
  const next = (state) => (state * MULTIPLIER + increment) & MASK128;
  let state = next(((high << 64n) | low) + increment);
  return () => {
    state = next(state);
    const folded = (state >> 64n) ^ (state & MASK64);
    const turn = state >> 122n;
    const word = ((folded >> turn) | (folded << (64n - turn))) & MASK64;
    return Number(word >> 11n) / 2 ** 53;
  };
}
