// Inside: the text shaded by one unit, all units of its layer, the cell, and the units that follow visible features.

import { attempt, bar, byId, el, named, say, submitByCtrlEnter } from "./dom.js";
import { TextView, characters, valueShade } from "./text.js";
import { Sheet } from "./sheet.js";
import { drawCell } from "./cell.js";
import { Heatmap } from "./heatmap.js";

const MARGIN = 0.1; // a best score must be this far above chance

const ORIGINS = {
  "held-out text": "held-out text: the model was not trained on it",
  "training text": "part of the training text",
  "generated text": "text that the model generated, because the run's own text is not available",
};

function signed(score) {
  return (score < 0 ? "−" : "+") + Math.abs(score).toFixed(2);
}

// Whether some unit clearly follows a feature.
export function isFollowed({ best, chance }) {
  return Math.abs(best[0].score) > chance + MARGIN;
}

export class Inside {
  constructor(source, run, shared) {
    this.source = source;
    this.run = run;
    this.shared = shared;
    this.shown = null;
    this.asked = 0;
    this.text = null;
    this.chosen = { layer: 0, unit: 0 };
    this.sheet = new Sheet(byId("inside-sheet"));
    this.view = new TextView(byId("inside-text"), { syllables: run.hangul, point: (index) => this.#point(index) });
    this.heatmap = new Heatmap(byId("inside-heatmap"), run.units, {
      choose: (unit) => this.choose(this.chosen.layer, unit),
      point: (symbol) => this.view.moveTo(this.characters.findLastIndex(({ from }) => from <= symbol)),
    });
    this.markCell = drawCell(byId("cell-picture"), run.cell, byId("cell-says"),
      source.kind === "report" ? null : (key) => this.#pick(key)); // a report has one quantity
    byId("inside-layer").replaceChildren(
      ...Array.from({ length: run.layers }, (_, k) => el("option", { textContent: String(k + 1) })),
    );
    byId("inside-unit").max = run.units - 1;
    submitByCtrlEnter(byId("inside-form"));
    byId("inside-form").addEventListener("submit", (event) => {
      event.preventDefault();
      shared.text = byId("inside-input").value;
      this.shown = null;
      this.show();
    });
    byId("inside-quantity").addEventListener("change", () => this.#rank(this.text, byId("inside-quantity").value, true));
    for (const id of ["inside-layer", "inside-unit"]) {
      byId(id).addEventListener("input", () => {
        const { value } = byId("inside-unit");
        if (id === "inside-unit" && value === "") return; // a number follows
        const unit = value === "" ? this.chosen.unit : Math.max(0, Math.min(run.units - 1, Math.round(Number(value))));
        this.choose(Number(byId("inside-layer").value) - 1, unit);
      });
    }
  }

  async show() {
    const { text } = this.shared;
    const key = this.source.step + "/" + text;
    if (this.shown === key) {
      await this.showing;
      return;
    }
    this.shown = key;
    byId("inside-input").value = text;
    byId("inside-of").textContent = text && text === this.shared.own ? `This is ${ORIGINS[this.shared.of] ?? this.shared.of}.` : "";
    byId("inside-status").textContent = "Reading …";
    this.showing = this.#rank(text, byId("inside-quantity").value || null, text === this.text);
    const done = await this.showing;
    if (this.shown === key && done === false) this.shown = null;
  }

  // `stay` keeps text and unit, for another quantity or checkpoint. Returns false if it failed, undefined if a newer
  // request has replaced it.
  async #rank(text, quantity, stay = false) {
    this.asked += 1;
    const { asked } = this;
    const found = await attempt(() => this.source.units(text, quantity));
    if (this.asked !== asked) return undefined;
    byId("inside-status").textContent = "";
    if (!found) return false;
    this.text = text;
    this.quantity = found.quantity;
    this.name = found.quantities[found.quantity];
    this.features = found.features;
    this.characters = characters(found);
    const select = byId("inside-quantity");
    if (!select.options.length) {
      select.append(...Object.entries(found.quantities).map(([value, name]) => el("option", { value, textContent: name })));
    }
    select.value = found.quantity;
    this.markCell(found.quantity);
    byId("inside-status").textContent = found.skipped.length ? `Not in the vocabulary, left out: ${found.skipped.map(named).join(" ")}` : "";
    if (!stay) {
      this.view.clear();
      this.view.append(this.characters);
      this.view.box.scrollTop = 0;
    }
    this.#list(found.features);
    const [first] = found.features;
    const { layer, unit } = first && !stay ? first.best[0] : this.chosen;
    await this.choose(layer, unit);
    return true;
  }

  // Shows the quantity of a part of the cell, if there is one.
  #pick(key) {
    const select = byId("inside-quantity");
    const known = [...select.options].some(({ value }) => value === key);
    if (!known || key === this.quantity) return;
    this.#rank(this.text, key, true);
  }

  #list(features) {
    byId("inside-ranking").replaceChildren(...features.map((feature) => el(
      "li", { className: isFollowed(feature) ? "" : "chance" },
      el("p", {}, feature.title, el("span", { textContent: `chance ${feature.chance.toFixed(2)}` })),
      el("div", {}, ...feature.best.map(({ layer, unit, score }) => {
        const button = el("button", { type: "button", textContent: `${layer + 1}·${unit} ${signed(score)}` });
        button.setAttribute("aria-label", `layer ${layer + 1}, unit ${unit}: follows ${feature.title} ${signed(score)}`);
        button.unit = `${layer}/${unit}`;
        button.addEventListener("click", () => this.choose(layer, unit));
        return button;
      })),
    )));
    if (!features.length) {
      byId("inside-ranking").replaceChildren(el("li", { textContent: "This text is too short or too uniform: no feature varies enough. Try a longer text." }));
    }
  }

  async choose(layer, unit) {
    this.chosen = { layer, unit };
    const wanted = `${layer}/${unit}`;
    byId("inside-layer").value = layer + 1;
    byId("inside-unit").value = unit;
    for (const button of byId("inside-ranking").querySelectorAll("button")) {
      button.setAttribute("aria-pressed", String(button.unit === wanted));
    }
    this.heatmap.mark(unit);
    const found = await attempt(() => this.source.unit(this.text, this.quantity, layer, unit));
    if (!found || `${this.chosen.layer}/${this.chosen.unit}` !== wanted || found.quantity !== this.quantity) return;
    this.values = found.values;
    byId("inside-title").textContent = `Layer ${layer + 1}, unit ${unit}: ${this.name}`;
    this.view.shade(
      (k) => valueShade(this.#value(k)),
      (k, part) => valueShade(found.values[this.characters[k].from + part]),
    );
    const chances = new Map(this.features.map(({ title, chance }) => [title, chance]));
    byId("inside-follows").replaceChildren(...found.follows.slice(0, 6).map(({ title, score }) => {
      const chance = chances.get(title);
      const shown = bar(Math.abs(score), score < 0);
      shown.append(el("b"));
      shown.style.setProperty("--chance", chance.toFixed(3));
      return el(
        "li", { className: Math.abs(score) > chance ? "" : "chance" },
        el("span", { className: "name", textContent: title }), shown,
        el("span", { className: "number", textContent: signed(score), title: `chance level ${chance.toFixed(2)}` }),
      );
    }));
    const [most] = found.follows;
    const follows = most && Math.abs(most.score) > chances.get(most.title) ? `, follows ${most.title} ${signed(most.score)}` : "";
    say(`Layer ${layer + 1}, unit ${unit}${follows}`);
    await this.heatmap.show(this.source, this.text, this.quantity, layer);
    this.heatmap.mark(this.chosen.unit, this.heatmap.symbol, `unit ${unit}${follows}`);
  }

  // The unit's value after the whole character.
  #value(index) {
    const { from, parts } = this.characters[index];
    return this.values[from + parts.length - 1];
  }

  #point(index) {
    if (!this.values) return;
    const { from, parts, label } = this.characters[index];
    const own = parts.length > 1
      ? parts.map((symbol, k) => `${named(symbol)} ${this.values[from + k].toFixed(2)}`).join(", ")
      : this.#value(index).toFixed(2);
    byId("inside-at").textContent = `After ${label}: ${own}`;
    say(byId("inside-at").textContent);
    this.heatmap.mark(this.chosen.unit, from);
    this.sheet.show(this.view.span(index));
  }
}
