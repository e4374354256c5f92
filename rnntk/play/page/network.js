// The network: reads a symbol, returns the logits of the next. The tests compare it with the Python decoder.

import { Arena, PANEL, padded } from "./product.js";

const EPSILON = 1e-3; // of layer normalization
const GATES = { lstm: "ifgo", gru: "zrg", rnn: "h" }; // in the weights' order
const STATES = { lstm: "hc", gru: "h", rnn: "h" };

const sigmoid = (x) => 1 / (1 + Math.exp(-x));

// One step of each cell. Before it, layer.gates = kernel · inputs + bias; after it, the gates' values.
const CELLS = {
  lstm(layer, H) {
    const { gates: z, h, c } = layer;
    layer.addRecurrent(h, z);
    for (let j = 0; j < H; j += 1) {
      const i = (z[j] = sigmoid(z[j]));
      const f = (z[H + j] = sigmoid(z[H + j]));
      const g = (z[2 * H + j] = Math.tanh(z[2 * H + j]));
      const o = (z[3 * H + j] = sigmoid(z[3 * H + j]));
      c[j] = f * c[j] + i * g;
      h[j] = o * Math.tanh(c[j]);
    }
  },

  // Reset gate after the recurrent product, which has its own bias.
  gru(layer, H) {
    const { gates: z, h, inner } = layer;
    layer.addRecurrent(h, inner, layer.recurrentBias);
    for (let j = 0; j < H; j += 1) {
      const update = (z[j] = sigmoid(z[j] + inner[j]));
      const reset = (z[H + j] = sigmoid(z[H + j] + inner[H + j]));
      const g = (z[2 * H + j] = Math.tanh(z[2 * H + j] + reset * inner[2 * H + j]));
      h[j] = update * h[j] + (1 - update) * g;
    }
  },

  // Reset gate before the recurrent product, as in Cho et al. (2014).
  gruResetBefore(layer, H) {
    const { gates: z, h, inner } = layer;
    layer.addRecurrent(h, inner, z);
    for (let j = 0; j < H; j += 1) {
      z[j] = sigmoid(inner[j]);
      z[H + j] = sigmoid(inner[H + j]);
      layer.factor[j] = z[H + j] * h[j];
    }
    layer.addRecurrent(layer.factor, inner, z);
    for (let j = 0; j < H; j += 1) {
      const g = (z[2 * H + j] = Math.tanh(inner[2 * H + j]));
      h[j] = z[j] * h[j] + (1 - z[j]) * g;
    }
  },

  rnn(layer, H) {
    const { gates: z, h } = layer;
    layer.addRecurrent(h, z);
    for (let j = 0; j < H; j += 1) h[j] = z[j] = Math.tanh(z[j]);
  },
};

// `weights(name)`: {rows, terms, data}, as from `unpack`.
class Layer {
  constructor(arena, cell, weights, name, H) {
    const [kernel, recurrent, bias] = ["kernel", "recurrent_kernel", "bias"].map((part) => weights(`${name}/${part}`));
    const width = kernel.rows;
    this.arena = arena;
    this.update = CELLS[cell === "gru" && bias.rows === 1 ? "gruResetBefore" : cell];
    this.kernel = packed(arena, kernel);
    this.recurrent = packed(arena, recurrent);
    this.bias = filled(arena, bias.data.subarray(0, width));
    this.recurrentBias = bias.rows === 2 ? filled(arena, bias.data.subarray(width)) : null;
    this.gates = arena.floats(width);
    this.inner = arena.floats(width);
    this.factor = arena.floats(H);
    for (const state of STATES[cell]) this[state] = arena.floats(H);
  }

  // onto = recurrent kernel · x + start
  addRecurrent(x, onto, start = onto) {
    this.arena.multiply(this.recurrent, x, start, onto);
  }
}

export class Network {
  // `run`: {cell, layers, units, layer_norm}. `weights`: from `unpack`.
  constructor(run, weights, simd = true) {
    const { cell, layers, units: H } = run;
    const by = (name) => weights.get(name);
    const room = [...weights.values()].reduce((sum, { rows, terms }) => sum + padded(rows) * (terms + PANEL), 0);
    const arena = new Arena(room + (layers + 1) * 16 * padded(H), simd);
    this.arena = arena;
    this.cell = cell;
    this.units = H;
    this.normalise = run.layer_norm;
    this.embedding = by("embedding/embeddings");
    this.output = packed(arena, by("output/kernel"));
    this.outputBias = filled(arena, by("output/bias").data);
    this.logits = arena.floats(this.outputBias.length);
    this.embedded = arena.floats(this.embedding.terms);
    this.normalised = arena.floats(H);
    this.layers = Array.from({ length: layers }, (_, k) => new Layer(arena, cell, by, `rnn_${k}`, H));
    this.inputs = new Map(); // cache by symbol: the first layer's kernel · embedding + bias
  }

  get states() {
    return this.layers.flatMap((layer) => [...STATES[this.cell]].map((state) => layer[state]));
  }

  // Resets all states to zero.
  clear() {
    for (const state of this.states) state.fill(0);
  }

  // The returned logits are valid until the next step.
  step(id) {
    let below = null;
    for (const layer of this.layers) {
      if (below) this.arena.multiply(layer.kernel, below, layer.bias, layer.gates);
      else layer.gates.set(this.#inputs(id, layer));
      layer.update(layer, this.units);
      below = this.normalise ? this.#normalised(layer.h) : layer.h;
    }
    this.arena.multiply(this.output, below, this.outputBias, this.logits);
    return this.logits;
  }

  // A state or gate of a layer after the last step; c as tanh(c).
  values(layer, quantity) {
    const { gates, [quantity]: state } = this.layers[layer];
    if (quantity === "c") return state.map(Math.tanh);
    if (state) return state;
    const from = GATES[this.cell].indexOf(quantity) * this.units;
    return gates.subarray(from, from + this.units);
  }

  #inputs(id, layer) {
    if (!this.inputs.has(id)) {
      const { data, terms } = this.embedding;
      this.embedded.set(data.subarray(id * terms, (id + 1) * terms));
      this.arena.multiply(layer.kernel, this.embedded, layer.bias, layer.gates);
      this.inputs.set(id, layer.gates.slice());
    }
    return this.inputs.get(id);
  }

  #normalised(h) {
    const mean = h.reduce((sum, value) => sum + value, 0) / h.length;
    const variance = h.reduce((sum, value) => sum + (value - mean) ** 2, 0) / h.length;
    const scale = 1 / Math.sqrt(variance + EPSILON);
    for (let j = 0; j < h.length; j += 1) this.normalised[j] = (h[j] - mean) * scale;
    return this.normalised;
  }
}

function filled(arena, values) {
  const found = arena.floats(values.length);
  found.set(values);
  return found;
}

// A matrix in the layout of `Arena.multiply`.
function packed(arena, { rows, terms, data }) {
  const found = arena.floats(padded(rows) * terms);
  for (let row = 0; row < rows; row += 1) {
    const panel = (row - (row % PANEL)) * terms + (row % PANEL);
    for (let k = 0; k < terms; k += 1) found[panel + k * PANEL] = data[row * terms + k];
  }
  return { data: found, terms };
}

const BYTES = { float32: 4, float16: 2, int8: 1 };

// Weights {rows, terms, data} by name. Bytes of each: the scales of its rows (int8 only), then its numbers as byte planes,
// lowest first, which compress better.
export function unpack(layout, bytes) {
  let at = 0;
  const take = (count) => bytes.slice(at, (at += count));
  return new Map(layout.map(({ name, kind, rows, terms }) => {
    const scales = kind === "int8" ? new Float32Array(take(4 * rows).buffer) : null;
    const count = rows * terms;
    const planes = take(count * BYTES[kind]);
    const whole = new DataView(new ArrayBuffer(planes.length));
    planes.forEach((byte, k) => whole.setUint8((k % count) * BYTES[kind] + Math.floor(k / count), byte));
    const read = {
      float32: (k) => whole.getFloat32(4 * k, true),
      float16: (k) => half(whole.getUint16(2 * k, true)),
      int8: (k) => whole.getInt8(k) * scales[Math.floor(k / terms)],
    }[kind];
    return [name, { rows, terms, data: Float32Array.from({ length: count }, (_, k) => read(k)) }];
  }));
}

// IEEE 754 float16.
function half(bits) {
  const sign = bits & 0x8000 ? -1 : 1;
  const exponent = (bits >> 10) & 31;
  const fraction = bits & 1023;
  return sign * (exponent ? 2 ** (exponent - 15) * (1 + fraction / 1024) : 2 ** -14 * (fraction / 1024));
}
