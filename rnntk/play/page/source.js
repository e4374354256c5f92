// Data sources of the views, all with the same methods: a server, a model in this file, or a report's stored answers.
//
// - run()                                facts about the run, limits and defaults
// - read(text)                           surprisal of each symbol, and the likeliest symbols in its place
// - units(text, quantity)                units that follow visible features of a text
// - unit(text, quantity, layer, unit)    one unit's values over a text
// - layer(text, quantity, layer)         values of all units of a layer: rows of signed bytes in base64, 127 for 1
// - text()                               the text that Read and Inside open on, and its origin
// - write(asked, signal, take)           generates text; `take` gets {seed, prime, skipped}, then {pieces} repeatedly
// - runs()                               runs on the same corpus; server and report only
// - training(), sample(step)             loss curve, and a checkpoint's sample; not for a model in a file
//
// `writes`: there is a model to generate with. `trains`: the run may still be training.

import { bytesOf } from "./dom.js";

async function ask(path, body) {
  const answer = await fetch("api/" + path, body === undefined ? {} : {
    method: "POST", headers: { "content-type": "application/json" }, body: JSON.stringify(body),
  });
  const found = await answer.json();
  if (!answer.ok) throw new Error(found.error);
  return found;
}

export class Server {
  kind = "server";
  writes = true;
  trains = true;
  step = null;
  evaluation = null;

  run() { return ask("run"); }
  read(text) { return ask("read", { text, step: this.step }); }
  units(text, quantity) { return ask("units", { text, step: this.step, quantity }); }
  unit(text, quantity, layer, unit) { return ask("unit", { text, step: this.step, quantity, layer, unit }); }
  layer(text, quantity, layer) { return ask("layer", { text, step: this.step, quantity, layer }); }
  text() { return ask("text"); }
  runs() { return ask("runs"); }
  classify(pixels) { return ask("classify", { pixels, step: this.step }); }
  test() { return ask("test", { step: this.step }); }
  cell(truth, named) { return ask("cell", { step: this.step, true: truth, named }); }
  training() { return ask("training"); }
  sample(step) { return ask("sample?step=" + encodeURIComponent(step)); }

  // Waits for `take` after each line, so that a slow page slows the server down.
  async write(asked, signal, take) {
    const answer = await fetch("api/write", {
      method: "POST", headers: { "content-type": "application/json" },
      body: JSON.stringify({ ...asked, step: this.step }), signal,
    });
    if (!answer.ok) throw new Error((await answer.json()).error);
    const reader = answer.body.pipeThrough(new TextDecoderStream()).getReader();
    let rest = "";
    for (;;) {
      const { value, done } = await reader.read();
      if (done) return;
      const lines = (rest + value).split("\n");
      rest = lines.pop();
      for (const line of lines) await take(JSON.parse(line));
    }
  }
}

// A model in this file, run in a worker so that the page stays responsive.
export class Local {
  kind = "local";
  writes = true;
  trains = false;
  step = null;
  evaluation = null;
  #waiting = new Map();
  #asked = 0;
  #written = 0;

  // `weights`: for worker.js. `script`: the worker's code, because a page opened from disk may not load other files.
  constructor(description, weights, script) {
    this.description = description;
    this.worker = new Worker(URL.createObjectURL(new Blob([script], { type: "text/javascript" })));
    this.worker.onmessage = ({ data: { id, found, error } }) => {
      const { done, failed } = this.#waiting.get(id);
      this.#waiting.delete(id);
      if (error === undefined) done(found);
      else failed(new Error(error));
    };
    this.worker.onerror = (event) => {
      for (const { failed } of this.#waiting.values()) failed(new Error(`The model stopped: ${event.message}`));
      this.#waiting.clear();
    };
    this.loaded = this.#ask("load", description, weights);
  }

  #ask(question, ...given) {
    this.#asked += 1;
    const id = this.#asked;
    return new Promise((done, failed) => {
      this.#waiting.set(id, { done, failed });
      this.worker.postMessage({ id, question, given });
    });
  }

  async run() {
    await this.loaded;
    return this.description.run;
  }

  read(text) { return this.#ask("read", text); }
  units(text, quantity) { return this.#ask("units", text, quantity); }
  unit(text, quantity, layer, unit) { return this.#ask("unit", text, quantity, layer, unit); }
  layer(text, quantity, layer) { return this.#ask("layer", text, quantity, layer); }
  text() { return this.#ask("text"); }

  // The worker generates only what is asked for.
  async write(asked, signal, take) {
    this.#written += 1;
    const id = this.#written;
    try {
      await take(await this.#ask("write", id, asked));
      while (!signal.aborted) {
        const line = await this.#ask("more", id);
        if (!line) return;
        await take(line);
      }
    } finally {
      this.#ask("end", id).catch(() => {}); // without waiting: the worker may have stopped
    }
  }
}

export class Report {
  kind = "report";
  writes = false;
  trains = false;
  step = null;

  constructor(data) {
    this.data = data;
    this.evaluation = data.evaluation;
    this.pairs = data.pairs;
  }

  async run() { return this.data.run; }
  async read(text) { return this.data.reads[text] ?? this.data.read; }
  async units() { return this.data.units; }
  async unit(_text, quantity, layer, unit) {
    const found = this.data.unit[layer + "/" + unit];
    if (found) return found;
    // An unranked unit: its values are in the layer's.
    const { values, units } = this.data.layers[layer];
    const all = new Int8Array(bytesOf(values).buffer);
    const length = all.length / units;
    return { layer, unit, quantity, values: Array.from(all.subarray(unit * length, (unit + 1) * length), (value) => value / 127), follows: [] };
  }

  // Only the lessons' texts.
  async write({ temperature }, _signal, take) {
    await take({ pieces: [[this.data.written[temperature], 0]] });
  }

  async layer(_text, _quantity, layer) { return this.data.layers[layer]; }
  async runs() { return { runs: this.data.runs }; }
  async training() { return this.data.training; }
  async sample(step) { return this.data.samples[step]; }
}

// A report or a model is embedded in the page; otherwise there is a server.
export function sourceOf(page) {
  const [report, model] = ["report-data", "model-data"].map((id) => page.getElementById(id));
  if (report) return new Report(JSON.parse(report.textContent));
  if (!model) return new Server();
  const [weights, script] = ["model-weights", "model-worker"].map((id) => page.getElementById(id).textContent);
  return new Local(JSON.parse(model.textContent), weights, script);
}
