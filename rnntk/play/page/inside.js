// Inside: the text coloured by one unit, and the units that follow something visible.

import { attempt, bar, byId, el, named, say } from "./dom.js";
import { TextView, characters, valueShade } from "./text.js";

function signed(score) {
  return (score < 0 ? "−" : "+") + Math.abs(score).toFixed(2);
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
    this.view = new TextView(byId("inside-text"), { syllables: run.hangul, point: (index) => this.#point(index) });
    byId("inside-layer").replaceChildren(
      ...Array.from({ length: run.layers }, (_, k) => el("option", { textContent: String(k + 1) })),
    );
    byId("inside-unit").max = run.units - 1;
    byId("inside-form").addEventListener("submit", (event) => {
      event.preventDefault();
      shared.text = byId("inside-input").value;
      this.shown = null;
      this.show();
    });
    byId("inside-quantity").addEventListener("change", () => this.#rank(this.text, byId("inside-quantity").value, true));
    for (const id of ["inside-layer", "inside-unit"]) {
      byId(id).addEventListener("input", () => {
        const unit = Math.max(0, Math.min(run.units - 1, Math.round(Number(byId("inside-unit").value)) || 0));
        this.#choose(Number(byId("inside-layer").value) - 1, unit);
      });
    }
  }

  async show() {
    const { text } = this.shared;
    const key = this.source.step + "/" + text;
    if (this.shown === key) return;
    this.shown = key;
    byId("inside-input").value = text;
    byId("inside-status").textContent = "Reading …";
    const done = await this.#rank(text, byId("inside-quantity").value || null, text === this.text);
    if (this.shown === key && done === false) this.shown = null;
  }

  // With `stay` the text and the unit stay as they are, for another quantity or checkpoint. False when it failed,
  // undefined when something else was asked for in the meantime.
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
    this.characters = characters(found);
    const select = byId("inside-quantity");
    if (!select.options.length) {
      select.append(...Object.entries(found.quantities).map(([value, name]) => el("option", { value, textContent: name })));
    }
    select.value = found.quantity;
    byId("inside-status").textContent = found.skipped.length ? `Left out, never seen: ${found.skipped.map(named).join(" ")}` : "";
    if (!stay) {
      this.view.clear();
      this.view.append(this.characters);
      this.view.box.scrollTop = 0;
    }
    this.#list(found.features);
    const [first] = found.features;
    const { layer, unit } = first && !stay ? first.best[0] : this.chosen;
    await this.#choose(layer, unit);
    return true;
  }

  #list(features) {
    byId("inside-ranking").replaceChildren(...features.map((feature) => el(
      "li", {},
      el("p", {}, feature.title, el("span", { textContent: `chance ${feature.chance.toFixed(2)}` })),
      el("div", {}, ...feature.best.map(({ layer, unit, score }) => {
        const button = el("button", { type: "button", textContent: `${layer + 1}·${unit} ${signed(score)}` });
        button.setAttribute("aria-label", `layer ${layer + 1}, unit ${unit}: follows ${feature.title} ${signed(score)}`);
        button.unit = `${layer}/${unit}`;
        button.addEventListener("click", () => this.#choose(layer, unit));
        return button;
      })),
    )));
    if (!features.length) {
      byId("inside-ranking").replaceChildren(el("li", { textContent: "In so little text nothing varies enough." }));
    }
  }

  async #choose(layer, unit) {
    this.chosen = { layer, unit };
    const wanted = `${layer}/${unit}`;
    byId("inside-layer").value = layer + 1;
    byId("inside-unit").value = unit;
    for (const button of byId("inside-ranking").querySelectorAll("button")) {
      button.setAttribute("aria-pressed", String(button.unit === wanted));
    }
    const found = await attempt(() => this.source.unit(this.text, this.quantity, layer, unit));
    if (!found || `${this.chosen.layer}/${this.chosen.unit}` !== wanted || found.quantity !== this.quantity) return;
    this.values = found.values;
    byId("inside-title").textContent = `Layer ${layer + 1}, unit ${unit}: ${this.name}`;
    // A gate lies between 0 and 1, and half open is neither: its scale begins at 0.
    this.view.shade(
      (k) => valueShade(this.#value(k)),
      (k, part) => valueShade(found.values[this.characters[k].from + part]),
    );
    byId("inside-follows").replaceChildren(...found.follows.slice(0, 6).map(({ title, score }) => el(
      "li", {}, el("span", { className: "name", textContent: title }), bar(Math.abs(score), score < 0),
      el("span", { className: "number", textContent: signed(score) }),
    )));
    say(`Layer ${layer + 1}, unit ${unit}`);
  }

  // The unit's value when it has read the whole character.
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
  }
}
