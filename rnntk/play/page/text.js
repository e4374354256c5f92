// A text whose characters can be shaded, pointed at and chosen, by pointer and by keyboard.

import { jamo } from "./codec.js";
import { el, named } from "./dom.js";

const BITS = [0.5, 1, 2, 3, 4, 5, 6, 8]; // where each shade begins
const BLOCK = 200; // characters drawn or undrawn together

export function bitsShade(bits) {
  const level = bits === null || bits === undefined ? 0 : BITS.filter((from) => bits >= from).length;
  return level ? "p" + level : "";
}

// For values from -1 to 1.
export function valueShade(value) {
  const level = Math.min(8, Math.round(Math.abs(value) * 8));
  return level ? (value < 0 ? "n" : "p") + level : "";
}

export function fillLegends() {
  for (const legend of document.querySelectorAll(".legend")) {
    const bits = legend.dataset.scale === "bits";
    const steps = bits ? ["", ...[1, 2, 3, 4, 5, 6, 7, 8].map((k) => "p" + k)]
      : ["n8", "n6", "n4", "n2", "", "p2", "p4", "p6", "p8"];
    legend.replaceChildren(
      el("span", { textContent: bits ? "expected" : "−1" }),
      ...steps.map((name) => el("i", { className: name })),
      el("span", { textContent: bits ? "8 bits of surprise or more" : "1" }),
    );
  }
}

export class TextView {
  // `point(index)` is called when a character is pointed at, `choose(index)` when it is clicked or Enter is pressed. With
  // `follow`, a box whose end is in view stays at the end, also of what is appended while its tab is hidden.
  constructor(box, { point = () => {}, choose = () => {}, syllables = false, follow = false } = {}) {
    this.box = box;
    this.follow = follow;
    this.point = point;
    this.choose = choose;
    this.syllables = syllables;
    this.clear();
    // Touch scrolling must not point at anything; a tap ends in a click.
    box.addEventListener("pointerover", (event) => {
      if (event.pointerType !== "touch") this.#move(this.#index(event));
    });
    box.addEventListener("click", (event) => {
      const index = this.#index(event);
      this.#move(index);
      if (index >= 0) this.choose(index);
    });
    box.addEventListener("keydown", (event) => this.#key(event));
    box.addEventListener("scroll", () => this.#draw());
    new ResizeObserver(() => this.#draw()).observe(box); // also when its tab opens
    addEventListener("beforeprint", () => this.#draw(Infinity));
  }

  clear() {
    this.characters = [];
    this.blocks = [];
    this.at = -1;
    this.atEnd = true;
    this.box.replaceChildren();
  }

  get text() { return textOf(this.characters); }

  // Items: {character, given, parts, shade}. `parts`: the symbols shown under a syllable, by default its jamo.
  append(added) {
    const isAtEnd = this.#isAtEnd();
    const touched = new Set();
    for (const item of added) {
      let block = this.blocks.at(-1);
      if (!block || block.items.length === BLOCK) {
        block = { items: [], drawn: false, node: el("span") };
        this.blocks.push(block);
        this.box.append(block.node);
      }
      const own = { ...item, index: this.characters.length, block };
      block.items.push(own);
      this.characters.push(own);
      if (block.drawn) block.node.append(this.#span(own));
      else touched.add(block);
    }
    for (const block of touched) this.#render(block, false);
    this.#draw();
    if (isAtEnd) this.#toEnd();
  }

  // Keeps only the first `count` characters.
  cut(count) {
    this.characters.splice(count);
    while (this.blocks.at(-1)?.items[0].index >= count) this.blocks.pop().node.remove();
    const last = this.blocks.at(-1);
    if (last) {
      last.items = last.items.filter(({ index }) => index < count);
      this.#render(last, last.drawn);
    }
    if (this.at >= count) this.at = -1;
    this.#draw();
  }

  // Shades each character with the class `shade(index)`, and the parts under it with `part(index, k)`.
  shade(shade, part = () => "") {
    this.characters.forEach((item, index) => {
      item.shade = shade(index);
      item.under = item.parts?.map((_, k) => part(index, k));
      this.#paint(item);
    });
  }

  // The element of a character, drawn if it was not.
  span(index) {
    const { block } = this.characters[index];
    if (!block.drawn) this.#render(block, true);
    return this.characters[index].span;
  }

  // Points at a character and scrolls to it.
  moveTo(index) {
    this.#move(index);
    const { top, bottom } = this.box.getBoundingClientRect();
    const place = this.span(index).getBoundingClientRect();
    if (place.top < top || place.bottom > bottom) this.box.scrollTop += place.top - (top + bottom) / 2;
  }

  // Draws the blocks within `near` box heights of the visible part, and undraws those beyond `far`: an element or more for
  // each character of a long text makes the page, screen readers and checkers slow.
  #draw(near = 0.5, far = near + 1) {
    const { top, bottom, height } = this.box.getBoundingClientRect();
    const isAtEnd = this.#isAtEnd();
    if (!height) return;
    const places = this.blocks.map(({ node }) => node.getBoundingClientRect());
    this.blocks.forEach((block, k) => {
      const distance = Math.max(places[k].top - bottom, top - places[k].bottom) / height;
      const drawn = distance <= (block.drawn ? far : near);
      if (drawn !== block.drawn) this.#render(block, drawn);
    });
    if (isAtEnd && (this.follow || this.box.scrollTop)) this.#toEnd();
  }

  // Whether the end is in view; while the box is hidden, and when it is shown again, as before.
  #isAtEnd() {
    const { scrollHeight, scrollTop, clientHeight } = this.box;
    if (clientHeight && this.isShown) this.atEnd = scrollHeight - scrollTop - clientHeight < 40;
    this.isShown = clientHeight > 0;
    return this.atEnd;
  }

  #toEnd() {
    this.box.scrollTop = this.box.scrollHeight;
    this.atEnd = true;
  }

  #render(block, drawn) {
    Object.assign(block, { drawn });
    block.node.className = drawn ? "" : "plain";
    for (const item of block.items) item.span = null;
    if (drawn) block.node.replaceChildren(...block.items.map((item) => this.#span(item)));
    else block.node.textContent = textOf(block.items);
  }

  #span(item) {
    const letters = this.syllables ? jamo(item.character) : null;
    const under = letters && (item.parts ?? letters).map((symbol) => el("i", { textContent: symbol === "ᴥ" ? "·" : symbol }));
    item.span = letters ? el("span", {}, el("b", { textContent: item.character }), el("span", {}, ...under))
      : el("span", { textContent: item.character });
    item.span.index = item.index;
    this.#paint(item);
    return item.span;
  }

  #paint({ span, index, character, given, shade = "", under = [] }) {
    if (!span) return;
    const syllable = span.firstElementChild;
    const names = ["c", given && "given", character === "\n" && "nl", syllable ? "syl" : shade, index === this.at && "at"];
    span.className = names.filter(Boolean).join(" ");
    if (!syllable) return;
    syllable.className = shade;
    [...span.lastElementChild.children].forEach((part, k) => { part.className = under[k] ?? ""; });
  }

  #index(event) {
    return event.target.closest?.(".c")?.index ?? -1;
  }

  #move(index) {
    if (index < 0 || index >= this.characters.length || index === this.at) return;
    const before = this.characters[this.at];
    this.at = index;
    if (before) this.#paint(before);
    this.span(index);
    this.#paint(this.characters[index]);
    this.point(index);
  }

  #key(event) {
    if (event.altKey || event.ctrlKey || event.metaKey || !this.characters.length) return;
    const last = this.characters.length - 1;
    const { at } = this;
    const to = {
      ArrowRight: () => Math.min(last, at + 1), ArrowLeft: () => Math.max(0, at - 1),
      ArrowDown: () => this.#line(1), ArrowUp: () => this.#line(-1), Home: () => 0, End: () => last,
    }[event.key];
    if (to) {
      event.preventDefault();
      this.#move(to());
      this.span(this.at).scrollIntoView({ block: "nearest", inline: "nearest" });
    } else if (event.key === "Enter" && at >= 0) {
      event.preventDefault();
      this.choose(at);
    }
  }

  // The nearest character on the line below (1) or above (-1).
  #line(direction) {
    if (this.at < 0) return 0;
    const from = this.span(this.at);
    const distance = (k) => Math.abs(this.span(k).offsetLeft - from.offsetLeft);
    let best = this.at;
    let line = null;
    for (let k = this.at + direction; k >= 0 && k < this.characters.length; k += direction) {
      const { offsetTop } = this.span(k);
      if (Math.abs(offsetTop - from.offsetTop) < 4) continue;
      line ??= offsetTop;
      if (Math.abs(offsetTop - line) >= 4) break;
      if (best === this.at || distance(k) < distance(best)) best = k;
    }
    return best;
  }
}

function textOf(items) {
  return items.map(({ character }) => character).join("");
}

// The characters of a text that was read, each with its symbols (`parts`) and the position of the first (`from`).
export function characters({ text, symbols, counts }) {
  const all = [...symbols];
  let start = 0;
  return [...text].map((character, k) => {
    const from = start;
    start += counts[k];
    return { character, from, parts: all.slice(from, start), label: named(character) };
  });
}
