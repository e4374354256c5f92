// Heatmap of all units of a layer over the text: a row per unit, a column per symbol.

import { attempt, bytesOf } from "./dom.js";

const [NARROWEST, LOWEST, HEIGHT_OF_ALL] = [3, 3, 256]; // CSS pixels: a column, a row, all rows if there are few

// The text's colours, from -1 to 1 in 17 levels, as [red, green, blue].
function shades() {
  const style = getComputedStyle(document.documentElement);
  const rgb = (name) => style.getPropertyValue(name).trim().match(/[0-9a-f]{2}/gi).map((part) => parseInt(part, 16));
  const names = [8, 7, 6, 5, 4, 3, 2, 1].map((k) => `--cold${k}`).concat("--card", [1, 2, 3, 4, 5, 6, 7, 8].map((k) => `--hot${k}`));
  return names.map(rgb);
}

export class Heatmap {
  // `choose(unit)` is called when a row is chosen, `point(symbol)` when a column is.
  constructor(box, units, { choose, point }) {
    this.box = box;
    this.units = units;
    this.choose = choose;
    this.point = point;
    [this.canvas] = box.getElementsByTagName("canvas");
    this.unit = 0;
    this.symbol = 0;
    this.shown = "";
    box.setAttribute("aria-valuemax", units - 1);
    box.addEventListener("click", (event) => this.#click(event));
    box.addEventListener("keydown", (event) => this.#key(event));
    matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => this.#paint());
  }

  // Hidden if the source lacks the layer's values.
  async show(source, text, quantity, layer) {
    const key = [source.step, quantity, layer, text].join("/");
    if (this.shown === key) return;
    this.shown = key;
    const found = await attempt(() => source.layer(text, quantity, layer));
    if (this.shown !== key) return; // a newer request has replaced this one
    this.box.parentElement.hidden = !found;
    if (!found) return;
    this.values = new Int8Array(bytesOf(found.values).buffer); // (units, symbols)
    this.length = this.values.length / this.units;
    this.#paint();
    this.mark(this.unit, this.symbol);
  }

  // Outlines a unit's row and a symbol's column, and scrolls to them.
  mark(unit, symbol = this.symbol, label = `unit ${unit}`) {
    this.unit = unit;
    this.symbol = Math.min(symbol, Math.max(0, (this.length ?? 1) - 1));
    this.box.setAttribute("aria-valuenow", unit);
    this.box.setAttribute("aria-valuetext", label);
    if (!this.values) return;
    const [row, column] = this.box.querySelectorAll("i");
    const [wide, high] = this.#sizes();
    Object.assign(row.style, { top: `${unit * high}px`, height: `${high}px` });
    Object.assign(column.style, { left: `${this.symbol * wide}px`, width: `${wide}px` });
    const into = (at, size, seen, from) => (at < from ? at : at + size > from + seen ? at + size - seen : from);
    this.box.scrollTop = into(unit * high, high, this.box.clientHeight, this.box.scrollTop);
    this.box.scrollLeft = into(this.symbol * wide, wide, this.box.clientWidth, this.box.scrollLeft);
  }

  #sizes() {
    return [Math.max(NARROWEST, this.box.clientWidth / this.length), Math.max(LOWEST, HEIGHT_OF_ALL / this.units)];
  }

  #paint() {
    if (!this.values) return;
    const { canvas, units, length, values } = this;
    const [wide, high] = this.#sizes();
    Object.assign(canvas, { width: length, height: units });
    Object.assign(canvas.style, { width: `${length * wide}px`, height: `${units * high}px` });
    const context = canvas.getContext("2d");
    const picture = context.createImageData(length, units);
    const colours = shades();
    values.forEach((value, k) => picture.data.set([...colours[8 + Math.round(value / 15.875)], 255], 4 * k));
    context.putImageData(picture, 0, 0);
  }

  #click(event) {
    if (!this.values) return;
    const frame = this.canvas.getBoundingClientRect();
    const at = (part, count) => Math.max(0, Math.min(count - 1, Math.floor(part * count)));
    const unit = at((event.clientY - frame.top) / frame.height, this.units);
    this.point(at((event.clientX - frame.left) / frame.width, this.length));
    this.choose(unit);
  }

  #key(event) {
    if (event.altKey || event.ctrlKey || event.metaKey || !this.values) return;
    const rows = { ArrowUp: -1, ArrowDown: 1, PageUp: -10, PageDown: 10, Home: -this.units, End: this.units }[event.key];
    const columns = { ArrowLeft: -1, ArrowRight: 1 }[event.key];
    if (rows === undefined && columns === undefined) return;
    event.preventDefault();
    if (rows) this.choose(Math.max(0, Math.min(this.units - 1, this.unit + rows)));
    if (columns) this.point(Math.max(0, Math.min(this.length - 1, this.symbol + columns)));
  }
}
