// Mistakes: the confusion table of the test images, whose cells open their images.

import { attempt, byId, bytesOf, el, whole } from "./dom.js";
import { paintDigit } from "./draw.js";

const AGAIN = 1000; // milliseconds between updates while images are classified
const LEVELS = [0.002, 0.005, 0.01, 0.02, 0.04, 0.08, 0.15, 0.3]; // fraction of a digit's images where each shade begins

export class Mistakes {
  // `read(image)` shows an image in the Draw view.
  constructor(source, read) {
    this.source = source;
    this.read = read;
    this.timer = 0;
    this.opened = null; // the cell that is open
  }

  async show() {
    clearTimeout(this.timer);
    const { step } = this.source;
    const found = await attempt(() => this.source.test());
    if (!found || step !== this.source.step) return;
    const { title, done, of, right, confusion, mistakes } = found;
    const part = done ? `: ${whole(right)} correct (${((100 * right) / done).toFixed(2)} %), ${whole(done - right)} wrong.` : "";
    byId("mistakes-status").textContent = `${title}, test images: ${done < of ? `${whole(done)} of ${whole(of)} classified so far` : `all ${whole(of)} classified`}${part || "."}`;
    this.#table(confusion);
    if (!this.opened) this.#images(mistakes);
    if (done < of) this.timer = setTimeout(() => { if (!byId("mistakes").hidden) this.show(); }, AGAIN);
  }

  #table(confusion) {
    const focused = document.activeElement?.dataset?.cell;
    const digits = [...confusion.keys()];
    const head = el("tr", {}, el("td"), ...digits.map((digit) => el("th", { scope: "col", textContent: digit })));
    const rows = confusion.map((row, truth) => {
      const total = row.reduce((a, b) => a + b, 0) || 1;
      return el("tr", {}, el("th", { scope: "row", textContent: truth }), ...row.map((count, named) => {
        if (!count) return el("td", { textContent: "·" });
        const level = truth === named ? 0 : LEVELS.filter((from) => count / total >= from).length;
        const button = el("button", { type: "button", textContent: whole(count), className: level ? `p${level}` : "" });
        button.dataset.cell = `${truth}/${named}`;
        button.setAttribute("aria-label", `${whole(count)} images of ${truth} predicted as ${named}`);
        button.addEventListener("click", () => this.#open(truth, named));
        return el("td", {}, button);
      }));
    });
    byId("mistakes-table").replaceChildren(el("thead", {}, head), el("tbody", {}, ...rows));
    if (focused) byId("mistakes-table").querySelector(`[data-cell="${focused}"]`)?.focus();
  }

  async #open(truth, named) {
    this.opened = `${truth}/${named}`;
    const found = await attempt(() => this.source.cell(truth, named));
    if (!found || this.opened !== `${truth}/${named}`) return;
    const shown = found.images.length;
    const title = truth === named ? `${truth}, predicted correctly` : `${truth} predicted as ${named}`;
    byId("mistakes-title").textContent = `${title}: ${shown < found.count ? `${shown} of ${whole(found.count)} images, the least certain first` : `${shown} images`}`;
    this.#images(found.images);
    byId("mistakes-title").scrollIntoView({ block: "nearest" });
  }

  #images(images) {
    byId("mistakes-images").replaceChildren(...images.map(({ image, true: truth, named, beliefs }) => {
      const canvas = el("canvas", { width: 28, height: 28, className: "pixels" });
      const bytes = bytesOf(image);
      paintDigit(canvas, bytes);
      const sure = `${Math.round(100 * beliefs[named])} %`;
      const button = el("button", { type: "button" }, canvas, el("span", { textContent: `${truth} → ${named}, ${sure}` }));
      button.setAttribute("aria-label", `A ${truth} predicted as ${named} with ${sure}. Read it part by part.`);
      button.addEventListener("click", () => this.read(bytes));
      return el("li", {}, button);
    }));
    if (!images.length) byId("mistakes-images").replaceChildren(el("li", { textContent: "No mistakes so far." }));
  }
}
