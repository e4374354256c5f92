// Read: each character shaded by its surprise, and what the model expected.

import { attempt, bar, byId, el, named, say, submitByCtrlEnter, whole } from "./dom.js";
import { TextView, bitsShade, characters } from "./text.js";
import { Sheet } from "./sheet.js";

export class Read {
  constructor(source, run, shared) {
    this.source = source;
    this.symbols = [...run.vocabulary];
    this.shared = shared;
    this.view = new TextView(byId("read-text"), { syllables: run.hangul, point: (index) => this.#point(index) });
    this.sheet = new Sheet(byId("read-sheet"));
    this.shown = null;
    submitByCtrlEnter(byId("read-form"));
    byId("read-form").addEventListener("submit", (event) => {
      event.preventDefault();
      shared.text = byId("read-input").value;
      this.shown = null;
      this.show();
    });
  }

  async show() {
    const { text } = this.shared;
    const key = this.source.step + "/" + text;
    if (this.shown === key) return;
    this.shown = key;
    byId("read-input").value = text;
    byId("read-status").textContent = "Reading …";
    const found = await attempt(() => this.source.read(text));
    if (this.shown !== key) return;
    byId("read-status").textContent = "";
    if (!found) {
      this.shown = null;
      return;
    }
    this.#fill(found);
  }

  #fill(found) {
    this.found = found;
    this.characters = characters(found);
    const bits = this.characters.map(({ from, parts }) => {
      const own = found.bits.slice(from, from + parts.length).filter((b) => b !== null);
      return own.length ? own.reduce((a, b) => a + b, 0) : null;
    });
    this.bits = bits;
    this.view.clear();
    this.view.append(this.characters);
    this.view.shade((k) => bitsShade(bits[k]), (k, part) => bitsShade(found.bits[this.characters[k].from + part]));
    this.view.box.scrollTop = 0;
    const figures = [
      ["bits per character", found.bits_per_character.toFixed(3)],
      ["bits in total", whole(Math.round(found.total_bits))],
      ["characters", whole(this.characters.length)],
    ];
    if (found.symbols.length !== found.text.length) {
      figures.splice(1, 0, ["bits per symbol", found.bits_per_symbol.toFixed(3)]);
    }
    byId("read-figures").replaceChildren(
      ...figures.map(([name, value]) => el("div", {}, el("dt", { textContent: name }), el("dd", { textContent: value }))),
    );
    byId("read-status").textContent = found.skipped.length ? `Not in the vocabulary, left out: ${found.skipped.map(named).join(" ")}` : "";
    byId("read-at").textContent = "Point at a character, or use the arrow keys";
    byId("read-expected").replaceChildren();
    if (this.source.evaluation) this.#compare(this.source.evaluation);
  }

  // Bits per character of a whole evaluated text, beside the baselines.
  #compare({ of, characters: count, bits_per_character: rows, own }) {
    const shown = this.characters.length;
    const [title, bars] = byId("read-evaluation").children;
    title.textContent = `Bits per character of ${of}, ${whole(count)} characters`
      + (shown < count ? `; the first ${whole(shown)} are shown.` : ".");
    const most = Math.max(...rows.map(([, bits]) => bits)) || 1;
    bars.replaceChildren(...rows.map(([name, bits]) => el(
      "li", { className: name === own ? "true" : "" },
      el("span", { className: "name", textContent: name }), bar(bits / most),
      el("span", { className: "number", textContent: bits.toFixed(3) }),
    )));
    byId("read-evaluation").hidden = false;
  }

  #point(index) {
    const { from, parts, label } = this.characters[index];
    const bits = this.bits[index];
    const shown = bits === null ? "first character, not predicted" : `${bits.toFixed(2)} bits`;
    byId("read-at").textContent = `${label}: ${shown}`;
    const lists = parts.map((symbol, k) => {
      const title = parts.length > 1 ? `Expected at ${named(symbol)}` : "Expected here";
      return this.#expected(from + k, title, symbol);
    });
    lists.push(this.#expected(from + parts.length, "Expected next", null));
    byId("read-expected").replaceChildren(...lists.flat());
    this.sheet.show(this.view.span(index));
    const [best] = this.found.expected[from];
    say(`${label}, ${shown}${best === undefined ? "" : `, expected ${named(this.symbols[best])}`}`);
  }

  // The likeliest symbols at a position; the one that came is marked.
  #expected(place, title, came) {
    const ids = this.found.expected[place];
    if (!ids.length) return [];
    const rows = ids.map((id, k) => [this.symbols[id], this.found.chances[place][k]]);
    if (came !== null && !rows.some(([symbol]) => symbol === came)) rows.push([came, 2 ** -this.found.bits[place]]);
    return [
      el("h3", { className: "help", textContent: title }),
      el("ul", { className: "bars" }, ...rows.map(([symbol, chance]) => el(
        "li", { className: symbol === came ? "true" : "" },
        el("span", { className: "name", textContent: named(symbol) }), bar(chance),
        el("span", { className: "number", textContent: percent(chance) }),
      ))),
    ];
  }
}

function percent(chance) {
  const value = chance * 100;
  return value >= 9.95 ? `${value.toFixed(0)} %` : value >= 0.1 ? `${value.toFixed(1)} %` : "< 0.1 %";
}
