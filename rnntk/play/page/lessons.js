// Lessons: six short exercises. The answers are measured on the loaded model; a lesson that needs another kind of model names
// the command that trains one.

import { attempt, bar, byId, el, whole } from "./dom.js";
import { drawCell } from "./cell.js";
import { isFollowed } from "./inside.js";

const TEMPERATURES = [0.3, 1, 2];
const SHORT = 200; // symbols of each text
const [BEGINNING, REST, PAIRS] = [60, 300, 3]; // of the lesson on memory: characters, characters, pairs of texts
const DISTANCES = [1, 2, 4, 8, 16, 32, 64, 128, 256]; // last symbol of each group
const CELL_NAMES = { lstm: "LSTM", gru: "GRU", rnn: "vanilla RNN" };
const QUOTES = ['"', "“", "「", "«"];

const mean = (values) => (values.length ? values.reduce((a, b) => a + b, 0) / values.length : NaN);
const figure = (value) => value.toFixed(2);

// Bars for rows of [name, value].
function barsOf(rows, unit) {
  const known = rows.filter(([, value]) => Number.isFinite(value));
  const most = Math.max(...known.map(([, value]) => value), 1e-9);
  return el("ul", { className: "bars wide-names" }, ...known.map(([name, value]) => el(
    "li", {}, el("span", { className: "name", textContent: name }), bar(value / most),
    el("span", { className: "number", textContent: `${figure(value)} ${unit}` }),
  )));
}

// Bits per character; null for the first.
function bitsOf({ text, counts, bits }) {
  let start = 0;
  return [...text].map((character, k) => {
    const own = bits.slice(start, start + counts[k]).filter((b) => b !== null);
    start += counts[k];
    return own.length ? own.reduce((a, b) => a + b, 0) : null;
  });
}

// Pairs of texts that end alike and begin differently.
function pairsOf(text) {
  const all = [...text];
  const cut = (from, length) => all.slice(from, from + length).join("");
  const room = all.length - REST - 2 * BEGINNING;
  if (room < 0) return [];
  return Array.from({ length: PAIRS }, (_, k) => {
    const from = Math.floor((room * k) / PAIRS);
    const rest = cut(from + 2 * BEGINNING, REST);
    return [cut(from, BEGINNING) + rest, cut(from + BEGINNING, BEGINNING) + rest];
  });
}

// `needs(page)`: null, or what the model lacks and a command that trains one with it. `look(page, panel)` fills the panel and
// returns the answer. `go`: a button that opens a view.
const LESSONS = [
  {
    title: "Temperature",
    question: "The model's logits are divided by the temperature before sampling. What happens to the text at 0.3, and at 2?",
    button: "Write at three temperatures",
    async look({ source, run }, panel) {
      const texts = [];
      for (const temperature of TEMPERATURES) {
        let text = "";
        await source.write({ prime: run.prime, temperature, seed: 1, length: SHORT, top_k: null, top_p: null }, new AbortController().signal,
          (line) => { for (const [piece] of line.pieces ?? []) text += piece; });
        texts.push(text);
      }
      panel.replaceChildren(el("div", { className: "columns" }, ...texts.map((text, k) => el("div", {},
        el("h3", { textContent: `Temperature ${TEMPERATURES[k]}` }), el("pre", { textContent: text })))));
      const different = texts.map((text) => new Set([...text]).size);
      return `At 0.3 the model nearly always chooses its likeliest symbols and repeats itself. At 1 it uses the learned probabilities. `
        + `At 2 unlikely symbols become frequent, and words fall apart. Here the texts use ${different[0]}, ${different[1]} and `
        + `${different[2]} different characters. A barely trained model always writes nonsense.`;
    },
    go: { label: "Try others in Write", run: ({ open }) => open("write"), needs: "write" },
  },
  {
    title: "Surprise",
    question: "A character with probability p has a surprise of −log₂ p bits. Where in a word is the surprise largest?",
    button: "Measure it",
    async look({ source, text }, panel) {
      const found = await source.read(text);
      const bits = bitsOf(found);
      const places = [[], [], [], []];
      const other = [];
      let place = 0;
      [...found.text].forEach((character, k) => {
        const inside = /[\p{L}\p{N}_]/u.test(character);
        if (bits[k] !== null) (inside ? places[Math.min(place, 3)] : other).push(bits[k]);
        place = inside ? place + 1 : 0;
      });
      const [first, ...later] = places.map(mean);
      panel.replaceChildren(barsOf([["first character of a word", first], ["second", later[0]], ["third", later[1]], ["later ones", later[2]],
        ["spaces and punctuation", mean(other)]], "bits"));
      const rest = mean(places.slice(1).flat());
      return first > rest
        ? `At the beginning, where many words are possible: here ${figure(first)} bits for the first character and ${figure(rest)} for the others. Each `
          + "character rules out words."
        : `In most models at the beginning, but not here: ${figure(first)} bits for the first character, ${figure(rest)} for the others. This model has not `
          + "learned words yet. Train it longer.";
    },
    go: { label: "See it in Read", run: ({ open, shared, text }) => { shared.text = text; open("read"); } },
  },
  {
    title: "Find the quote unit",
    question: "To close a quotation, the model must remember that one is open. Does a unit do that?",
    button: "Find it",
    needs: ({ run, source }) => (source.kind === "report" || QUOTES.some((mark) => run.vocabulary.includes(mark)) ? null
      : { says: "This model's vocabulary has no quotation mark. Train one that has:", command: "rnntk train --corpus linux_kernel" }),
    async look(page, panel) {
      const { source, run, text } = page;
      page.quoted = text;
      const feature = ({ features }) => features.find(({ name }) => name === "quotes");
      let found = feature(await source.units(text, null));
      if (!found && source.kind !== "report") {
        const mark = QUOTES.find((candidate) => run.vocabulary.includes(candidate));
        const close = { "“": "”", "「": "」", "«": "»" }[mark] ?? mark;
        const pieces = text.replaceAll(mark, "").match(/[^\n]{20,60}/g) ?? [];
        page.quoted = pieces.map((piece, k) => (k % 2 ? `${mark}${piece.trim()}${close}` : piece.trim())).join(" ").slice(0, run.limits.text);
        found = feature(await source.units(page.quoted, null));
      }
      if (!found) {
        panel.replaceChildren("This text has too few quotations.");
        return "Open a text with quotations in Inside.";
      }
      [page.best] = found.best;
      panel.replaceChildren(barsOf([...found.best.map(({ layer, unit, score }) => [`layer ${layer + 1}, unit ${unit}`, Math.abs(score)]),
        ["by chance", found.chance]], ""));
      const { layer, unit, score } = found.best[0];
      return isFollowed(found)
        ? `Yes: layer ${layer + 1}, unit ${unit}. Its value is ${score > 0 ? "higher" : "lower"} inside quotations; its score is `
          + `${figure(Math.abs(score))}, by chance ${figure(found.chance)}. The network learned this because it lowers the loss.`
        : `Not clearly: the best unit (layer ${layer + 1}, unit ${unit}) scores ${figure(Math.abs(score))}, by chance ${figure(found.chance)}. `
          + "Small or briefly trained models often have none. Try: rnntk train --corpus linux_kernel --units 256 --max-time 20m";
    },
    go: {
      label: "Show the unit in Inside",
      run: async ({ views, shared, quoted, text, best, open }) => {
        shared.text = quoted ?? text;
        open("inside");
        await views.inside.show();
        if (best) await views.inside.choose(best.layer, best.unit);
      },
    },
  },
  {
    title: "Vanishing memory",
    question: "Two texts begin differently and continue identically. For how many symbols do the predictions differ?",
    button: "Compare pairs of texts",
    needs: ({ source, text }) => ((source.pairs ?? pairsOf(text)).length ? null : { says: "This lesson needs a text of 420 characters.", command: "" }),
    async look({ source, run, text }, panel) {
      const groups = DISTANCES.map(() => []);
      for (const pair of source.pairs ?? pairsOf(text)) {
        const [one, two] = [await source.read(pair[0]), await source.read(pair[1])];
        // Aligned at the end, where the symbols are identical.
        const tail = (found) => found.bits.slice(-[...found.symbols].length + found.counts.slice(0, BEGINNING).reduce((a, b) => a + b, 0));
        const [a, b] = [tail(one), tail(two)];
        const length = Math.min(a.length, b.length);
        for (let k = 0; k < length; k += 1) {
          const group = DISTANCES.findIndex((end) => k + 1 <= end);
          if (group >= 0) groups[group].push(Math.abs(a[a.length - length + k] - b[b.length - length + k]));
        }
      }
      const differences = groups.map(mean);
      const names = DISTANCES.map((end, k) => (end < 3 ? `symbol ${end}` : `${DISTANCES[k - 1] + 1} to ${end}`));
      panel.replaceChildren(el("p", { className: "help", textContent: "Difference in surprise, by distance from where the texts become identical:" }),
        barsOf(names.map((name, k) => [name, differences[k]]), "bits"));
      const faded = differences.findIndex((value, k) => k && value < differences[0] / 10);
      const measured = faded < 0
        ? "Here a difference remains to the end: this model remembers hundreds of symbols."
        : `From about symbol ${DISTANCES[faded - 1] + 1} on, the difference is below a tenth of its first value.`;
      const why = run.cell === "rnn"
        ? "A vanilla RNN recomputes its whole state at each step, so memory fades fast, as does the gradient."
        : "The gates of this cell can keep a value for long. A vanilla RNN (--cell rnn) forgets faster.";
      return `${measured} ${why}`;
    },
  },
  {
    title: "Three cells compared",
    question: "LSTM, GRU and vanilla RNN compute the next state differently. Which have gates, and what can each remember?",
    button: "Show the three cells",
    async look({ source, run }, panel) {
      const pictures = Object.entries(CELL_NAMES).map(([cell, name]) => {
        const svg = document.createElementNS("http://www.w3.org/2000/svg", "svg");
        svg.setAttribute("class", "cell");
        svg.setAttribute("role", "group");
        svg.setAttribute("aria-label", `The cell of a ${name}`);
        const says = el("figcaption", { className: "help" });
        drawCell(svg, cell, says);
        return el("div", {}, el("h3", { textContent: cell === run.cell ? `${name}: the cell of this model` : name }), el("figure", {}, svg, says));
      });
      const runs = source.runs ? (await source.runs()).runs ?? [] : [];
      const seen = new Set(runs.map(({ cell }) => cell).concat(run.cell));
      const missing = Object.keys(CELL_NAMES).filter((cell) => !seen.has(cell));
      const on = run.own_file ? "--input FILE" : `--corpus ${run.corpus}`;
      panel.replaceChildren(
        el("div", { className: "columns" }, ...pictures),
        ...(runs.length ? [el("p", { className: "help", textContent: "Runs on this text, with their best validation (else last training) loss in nats per symbol:" }),
          el("ul", {}, ...runs.map(({ name, model, step, best, loss }) => el("li", {
            textContent: `${name}: ${model}, step ${whole(step ?? 0)}, ${best !== null ? `validation ${best.toFixed(3)}` : loss === null ? "no loss yet" : `training ${loss.toFixed(3)}`}`,
          })))] : []),
        ...(missing.length ? [el("p", { className: "help", textContent: "To compare the losses, train the others for as long:" }),
          el("pre", { textContent: missing.map((cell) => `rnntk train ${on} --cell ${cell}`).join("\n") })] : []),
      );
      const gates = "The LSTM has a cell state and three gates. The GRU has two gates and no cell state: three quarters of the LSTM's weights. "
        + "The vanilla RNN has no gates: it is fastest and forgets soonest.";
      const best = runs.filter((one) => one.best !== null).sort((a, b) => a.best - b.best);
      const kinds = new Set(best.map(({ cell }) => cell));
      return gates + (kinds.size > 1 ? ` Of your runs, ${best[0].name} (${CELL_NAMES[best[0].cell]}) has the lowest validation loss, ${best[0].best.toFixed(3)} nats. `
        + "Compare only runs of the same size and training time." : "");
    },
  },
  {
    title: "Korean jamo",
    question: "This model spells each Hangul syllable in its letters, the jamo. Which jamo is the hardest to predict?",
    button: "Measure it",
    needs: ({ run }) => (run.hangul ? null : { says: "This model does not split Hangul into jamo. Train one that does:", command: "rnntk train --corpus demo_ko" }),
    async look({ source, text }, panel) {
      const { text: read, counts, bits } = await source.read(text);
      const parts = { initial: [], vowel: [], final: [], end: [] };
      let start = 0;
      [...read].forEach((character, k) => {
        const own = bits.slice(start, start + counts[k]);
        start += counts[k];
        if (character < "가" || character > "힣" || own.length < 3 || own[0] === null) return;
        parts.initial.push(own[0]);
        parts.vowel.push(own[1]);
        if (own.length > 3) parts.final.push(mean(own.slice(2, -1)));
        parts.end.push(own[own.length - 1]);
      });
      const rows = [["first consonant", mean(parts.initial)], ["vowel", mean(parts.vowel)], ["final consonant", mean(parts.final)], ["end of the syllable", mean(parts.end)]];
      panel.replaceChildren(barsOf(rows, "bits"));
      const known = rows.filter(([, value]) => Number.isFinite(value)).sort((a, b) => b[1] - a[1]);
      if (!known.length) return "This text has no Hangul syllables. Open one that has in Read.";
      return `Here the ${known[0][0]}, with ${figure(known[0][1])} bits; the easiest is the ${known[known.length - 1][0]}, with ${figure(known[known.length - 1][1])}. `
        + "At the first consonant nearly every syllable is possible; each further jamo leaves fewer, as letters do in a word.";
    },
    go: { label: "See it in Read", run: ({ open, shared, text }) => { shared.text = text; open("read"); } },
  },
];

export class Lessons {
  constructor(page) {
    this.page = page;
    this.built = false;
  }

  // A report holds all answers, so its panels are filled at once.
  async show() {
    if (this.built) return;
    this.built = true;
    this.page.text = this.page.shared.own || this.page.shared.text || (this.page.source.kind === "report" ? this.page.source.data.read.text : "");
    const looks = LESSONS.map((lesson, k) => this.#build(lesson, k));
    if (this.page.source.kind === "report") for (const look of looks) await look();
  }

  // Returns the function of its button.
  #build(lesson, k) {
    const { page } = this;
    const panel = el("div", { className: "panel" });
    const seen = el("p", { textContent: "Press the button first: the answer is measured on this model." });
    const actions = el("div", { className: "actions" });
    const missing = lesson.needs?.(page);
    const look = async () => {
      if (missing) return;
      panel.setAttribute("aria-busy", "true");
      const found = await attempt(() => lesson.look(page, panel));
      panel.removeAttribute("aria-busy");
      if (found) seen.textContent = found;
    };
    if (missing) {
      panel.append(el("p", { textContent: missing.says }), ...(missing.command ? [el("pre", { textContent: missing.command })] : []));
      seen.textContent = "Open this lesson with such a model.";
    } else {
      const button = el("button", { type: "button", className: "main", textContent: lesson.button });
      button.addEventListener("click", look);
      actions.append(button);
      if (lesson.go && (!lesson.go.needs || page.views[lesson.go.needs])) {
        const go = el("button", { type: "button", textContent: lesson.go.label });
        go.addEventListener("click", () => lesson.go.run(page));
        actions.append(go);
      }
    }
    byId("lessons-list").append(el("article", {}, el("h2", { textContent: `${k + 1}. ${lesson.title}` }), el("p", { textContent: lesson.question }),
      actions, panel, el("details", {}, el("summary", { textContent: "What you should have seen" }), seen)));
    return look;
  }
}
