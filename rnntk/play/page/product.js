// The matrix-vector product in WebAssembly SIMD: out = start + matrix · x.
//
// A matrix is stored in panels of 16 rows, column by column: each number of x multiplies four adjacent vectors. The module's
// bytes are assembled here, so that nothing is compiled beforehand or loaded.

export const PANEL = 16;
const PAGE = 65536; // bytes per page of WebAssembly memory
const LANES = [0, 16, 32, 48]; // byte offsets of a panel's four vectors

function leb(number) {
  return number < 128 ? [number] : [(number & 127) | 128, ...leb(number >> 7)];
}

const section = (id, ...content) => [id, ...leb(content.length), ...content];
const string = (text) => [text.length, ...new TextEncoder().encode(text)];

// Instructions, named as in the specification.
const get = (local) => [0x20, local];
const set = (local) => [0x21, local];
const i32 = { const: (value) => [0x41, value], add: [0x6a], shl: [0x74], ltU: [0x49] };
const raise = (local, by) => [...get(local), ...i32.const(by), ...i32.add, ...set(local)]; // by < 64
const loop = (...body) => [0x03, 0x40, ...body.flat(), 0x0b];
const branchIf = [0x0d, 0];
const simd = (...code) => [0xfd, ...code];
const v128 = {
  load: (offset) => simd(0x00, 2, offset), splat: simd(0x09, 2, 0), store: (offset) => simd(0x0b, 2, offset),
};
const f32x4 = { add: simd(0xe4, 1), mul: simd(0xe6, 1) };
const [I32, V128] = [0x7f, 0x7b];

// Locals: parameters (byte addresses; OUT_END is the end of `out`), then variables.
const [MATRIX, X, START, OUT, OUT_END, TERMS, AT, X_END, NUMBER, FIRST_SUM] = [0, 1, 2, 3, 4, 5, 6, 7, 8, 9];
const sums = LANES.map((offset, k) => ({ offset, sum: FIRST_SUM + k }));

const BODY = [
  ...get(X), ...get(TERMS), ...i32.const(2), ...i32.shl, ...i32.add, ...set(X_END),
  ...loop(
    ...sums.map(({ offset, sum }) => [...get(START), ...v128.load(offset), ...set(sum)]),
    [...get(X), ...set(AT)],
    loop(
      [...get(AT), ...v128.splat, ...set(NUMBER)],
      ...sums.map(({ offset, sum }) => [
        ...get(sum), ...get(NUMBER), ...get(MATRIX), ...v128.load(offset), ...f32x4.mul, ...f32x4.add, ...set(sum),
      ]),
      [...raise(MATRIX, 32), ...raise(MATRIX, 32), ...raise(AT, 4)],
      [...get(AT), ...get(X_END), ...i32.ltU, ...branchIf],
    ),
    ...sums.map(({ offset, sum }) => [...get(OUT), ...get(sum), ...v128.store(offset)]),
    [...raise(START, 32), ...raise(START, 32), ...raise(OUT, 32), ...raise(OUT, 32)],
    [...get(OUT), ...get(OUT_END), ...i32.ltU, ...branchIf],
  ),
  0x0b,
];

function moduleBytes() {
  const locals = [2, 2, I32, 1 + sums.length, V128]; // two kinds: addresses, then vectors
  const code = [...locals, ...BODY];
  return new Uint8Array([
    0, 0x61, 0x73, 0x6d, 1, 0, 0, 0,
    ...section(1, 1, 0x60, 6, ...Array(6).fill(I32), 0),
    ...section(2, 1, ...string("page"), ...string("memory"), 2, 0, 1),
    ...section(3, 1, 0),
    ...section(7, 1, ...string("product"), 0, 0),
    ...section(10, 1, ...leb(code.length), ...code),
  ]);
}

// The same on typed arrays, for browsers without WebAssembly SIMD.
function plainProduct(buffer) {
  const all = new Float32Array(buffer);
  return (matrixAt, xAt, startAt, outAt, outEnd, terms) => {
    const [start, out, x] = [startAt >> 2, outAt >> 2, xAt >> 2];
    const rows = (outEnd - outAt) >> 2;
    for (let row = 0; row < rows; row += 4) { // four independent sums are faster
      let [a, b, c, d] = [all[start + row], all[start + row + 1], all[start + row + 2], all[start + row + 3]];
      let at = (matrixAt >> 2) + (row - (row % PANEL)) * terms + (row % PANEL);
      for (let k = 0; k < terms; k += 1, at += PANEL) {
        const number = all[x + k];
        a += number * all[at];
        b += number * all[at + 1];
        c += number * all[at + 2];
        d += number * all[at + 3];
      }
      all[out + row] = a;
      all[out + row + 1] = b;
      all[out + row + 2] = c;
      all[out + row + 3] = d;
    }
  };
}

// Memory for `count` floats, and the product on it.
export class Arena {
  #used = 0;

  constructor(count, simdWanted = true) {
    const bytes = moduleBytes();
    if (simdWanted && globalThis.WebAssembly?.validate(bytes)) {
      const memory = new WebAssembly.Memory({ initial: Math.ceil((4 * count) / PAGE) });
      const instance = new WebAssembly.Instance(new WebAssembly.Module(bytes), { page: { memory } });
      this.buffer = memory.buffer;
      this.product = instance.exports.product;
    } else {
      this.buffer = new ArrayBuffer(4 * count);
      this.product = plainProduct(this.buffer);
    }
  }

  // A zeroed array, padded to whole panels.
  floats(count) {
    const found = new Float32Array(this.buffer, this.#used, count);
    this.#used += padded(count) * 4;
    return found;
  }

  multiply({ data, terms }, x, start, out) {
    const end = out.byteOffset + 4 * padded(out.length);
    this.product(data.byteOffset, x.byteOffset, start.byteOffset, out.byteOffset, end, terms);
  }
}

export function padded(count) {
  return Math.ceil(count / PANEL) * PANEL;
}
