// Worker of an exported page: runs the model for `Local` in source.js.

import { CODECS, encode } from "./codec.js";
import { Network, unpack } from "./network.js";
import { uniforms } from "./random.js";
import { Sampler, logTotal } from "./sampler.js";
import { features, follows, ranked } from "./visible.js";

const SLICE = 20; // milliseconds of generation per message
const LIKELIEST = 5;
const GENERATED = 1000; // characters, if the page has no text of the run
const SYMBOLS = 8; // per character, at most; an untrained model may need more, and ends there

class Model {
  constructor({ run, quantities, layout, excerpt }, bytes) {
    this.description = run;
    this.quantities = quantities;
    this.excerpt = excerpt;
    this.symbols = [...run.vocabulary];
    this.network = new Network(run, unpack(layout, bytes));
    this.generations = new Map(); // by id
  }

  #encoded(text) {
    const { limits, vocabulary } = this.description;
    const length = [...text].length;
    if (length > limits.text) {
      throw new Error(`The text has ${length.toLocaleString("en")} characters; shorten it to ${limits.text.toLocaleString("en")}.`);
    }
    const found = encode(text, this.description);
    if (found.ids.length < 2) {
      throw new Error(`The text has fewer than two symbols that the model knows: ${[...vocabulary].slice(0, 60).join("")}`);
    }
    return found;
  }

  read(text) {
    const { ids, ...encoded } = this.#encoded(text);
    const [bits, expected, chances] = [[null], [[]], [[]]];
    this.network.clear();
    ids.forEach((id, k) => {
      const logits = this.network.step(id);
      const total = logTotal(logits);
      const best = [...logits.keys()].sort((a, b) => logits[b] - logits[a]).slice(0, LIKELIEST);
      expected.push(best);
      chances.push(best.map((symbol) => Math.exp(logits[symbol] - total)));
      if (k + 1 < ids.length) bits.push((total - logits[ids[k + 1]]) / Math.LN2);
    });
    const whole = bits.reduce((sum, value) => sum + value, 0);
    const perSymbol = whole / (ids.length - 1);
    return {
      ...encoded, bits, expected, chances, total_bits: whole, bits_per_symbol: perSymbol,
      bits_per_character: (perSymbol * ids.length) / encoded.counts.length,
    };
  }

  // Values of all units, by unit then symbol; the latest result is cached.
  #traced(text, quantity) {
    const key = `${quantity}/${text}`;
    if (this.traced?.key === key) return this.traced;
    const encoded = this.#encoded(text);
    const { network, description: { layers, units } } = this;
    const all = Array.from({ length: layers * units }, () => new Float32Array(encoded.ids.length));
    network.clear();
    encoded.ids.forEach((id, at) => {
      network.step(id);
      for (let layer = 0; layer < layers; layer += 1) {
        network.values(layer, quantity).forEach((value, k) => { all[layer * units + k][at] = value; });
      }
    });
    this.traced = { key, encoded, all, features: features(encoded) };
    return this.traced;
  }

  units(text, quantity) {
    const chosen = quantity ?? Object.keys(this.quantities)[0];
    const { encoded: { ids, ...encoded }, all, features: found } = this.#traced(text, chosen);
    return {
      ...encoded, quantity: chosen, quantities: this.quantities, features: ranked(all, found, this.description.units),
    };
  }

  unit(text, quantity, layer, unit) {
    const { all, features: found } = this.#traced(text, quantity);
    const values = all[layer * this.description.units + unit];
    return { layer, unit, quantity, values: [...values], follows: follows(values, found) };
  }

  layer(text, quantity, layer) {
    const { units } = this.description;
    const rows = this.#traced(text, quantity).all.slice(layer * units, (layer + 1) * units);
    const bytes = rows.map((row) => String.fromCharCode(...row.map((value) => Math.round(value * 127) & 255)));
    return { units, quantity, values: btoa(bytes.join("")) };
  }

  // The text to open on: the run's, or a generated one.
  text() {
    if (this.excerpt) return this.excerpt;
    const { prime } = this.description;
    const generation = new Generation(this, { prime, seed: 1, length: GENERATED, temperature: 1 });
    const pieces = [];
    for (let line = generation.more(); line; line = generation.more()) pieces.push(...line.pieces.map(([piece]) => piece));
    return { text: prime + pieces.join(""), of: "generated text" };
  }

  // Starts a text, named `id`; `more` continues it and `end` forgets it. Views may generate several at once.
  write(id, asked) {
    const generation = new Generation(this, asked);
    this.generations.set(id, generation);
    return generation.head;
  }

  more(id) {
    return this.generations.get(id).more();
  }

  end(id) {
    this.generations.delete(id);
  }
}

// A text being generated, with its own states, because the network reads and generates others in between.
class Generation {
  constructor({ description, symbols, network }, asked) {
    check(asked, description.limits.length);
    const { text, ids, skipped } = encode(asked.prime, description);
    const seed = asked.seed ?? crypto.getRandomValues(new Uint32Array(1))[0];
    const banned = description.unknown === null ? -1 : symbols.indexOf(description.unknown);
    this.head = { seed, prime: text, skipped };
    this.network = network;
    this.symbols = symbols;
    this.sampler = new Sampler(symbols.length, asked, banned, uniforms(seed));
    this.decoder = CODECS[description.preprocessor].decoder();
    this.left = asked.length; // characters
    this.leftSymbols = asked.length * SYMBOLS;
    // An empty prompt becomes the symbols that this run's texts begin after.
    this.prompt = ids.length ? ids : Array.from(description.opening, (symbol) => symbols.indexOf(symbol));
    this.nats = 0;
    this.logits = null;
    this.states = network.states.map((state) => new Float32Array(state.length));
  }

  // The next pieces [text, nats]; null at the end.
  more() {
    if (this.left <= 0) return null;
    const until = performance.now() + SLICE;
    const pieces = [];
    this.network.states.forEach((state, k) => state.set(this.states[k]));
    while (this.prompt.length && performance.now() < until) this.logits = this.network.step(this.prompt.shift());
    while (!this.prompt.length && this.left > 0 && performance.now() < until) this.#add(pieces);
    this.states = this.network.states.map((state) => state.slice());
    this.logits = this.logits?.slice(); // the network overwrites them
    return { pieces };
  }

  #add(pieces) {
    const ended = this.leftSymbols <= 0;
    let text = "";
    if (ended) {
      text = this.decoder.flush();
    } else {
      const id = this.sampler.choose(this.logits);
      this.nats += logTotal(this.logits) - this.logits[id];
      this.logits = this.network.step(id);
      text = this.decoder.feed(this.symbols[id]);
    }
    const characters = [...text].slice(0, this.left);
    this.leftSymbols -= 1;
    this.left = ended ? 0 : this.left - characters.length;
    if (characters.length) {
      pieces.push([characters.join(""), this.nats]);
      this.nats = 0;
    }
  }
}

function check(asked, mostCharacters) {
  const wrong = [
    ["length", asked.length, (x) => Number.isInteger(x) && x >= 0 && x <= mostCharacters, `a whole number up to ${mostCharacters.toLocaleString("en")}`],
    ["temperature", asked.temperature, (x) => x >= 0 && x < Infinity, "at least 0"],
    ["top-k", asked.top_k, (x) => Number.isInteger(x) && x >= 1, "a whole number of at least 1"],
    ["top-p", asked.top_p, (x) => x > 0 && x <= 1, "above 0 and at most 1"],
    ["seed", asked.seed, (x) => Number.isInteger(x) && x >= 0 && x < 2 ** 32, "a whole number from 0 to 4,294,967,295"],
  ].find(([, value, fits]) => value !== null && value !== undefined && !fits(value));
  if (wrong) throw new Error(`The ${wrong[0]} must be ${wrong[3]}, got ${wrong[1]}.`);
}

async function unpacked(base64) {
  const packed = Uint8Array.from(atob(base64), (byte) => byte.charCodeAt(0));
  const stream = new Blob([packed]).stream().pipeThrough(new DecompressionStream("gzip"));
  return new Uint8Array(await new Response(stream).arrayBuffer());
}

let model = null;
const ANSWERS = {
  async load(description, base64) { model = new Model(description, await unpacked(base64)); },
  read: (text) => model.read(text),
  units: (text, quantity) => model.units(text, quantity),
  unit: (...which) => model.unit(...which),
  layer: (...which) => model.layer(...which),
  text: () => model.text(),
  write: (id, asked) => model.write(id, asked),
  more: (id) => model.more(id),
  end: (id) => model.end(id),
};

self.onmessage = async ({ data: { id, question, given } }) => {
  try {
    self.postMessage({ id, found: await ANSWERS[question](...given) });
  } catch (error) {
    self.postMessage({ id, error: error.message });
  }
};
