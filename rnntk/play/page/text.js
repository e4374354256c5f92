// A text as characters that can be shaded, pointed at and chosen, by pointer and by keyboard.

import { jamo } from "./codec.js";
import { el, named } from "./dom.js";

const BITS = [0.5, 1, 2, 3, 4, 5, 6, 8];

// The class that shades so many bits: none under half a bit, the eighth from 8 on.
export function bitsShade(bits) {
  const level = bits === null || bits === undefined ? 0 : BITS.filter((from) => bits >= from).length;
  return level ? "p" + level : "";
}

// The class that shades a value from -1 to 1.
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
      el("span", { textContent: bits ? "a surprise of 8 bits and more" : "1" }),
    );
  }
}

export class TextView {
  // `point(index)` is called when a character is pointed at, `choose(index)` when it is clicked or Enter is pressed.
  constructor(box, { point = () => {}, choose = () => {}, syllables = false } = {}) {
    this.box = box;
    this.point = point;
    this.choose = choose;
    this.syllables = syllables;
    this.clear();
    // A finger that only scrolls points at nothing; when it taps, a click follows.
    box.addEventListener("pointerover", (event) => {
      if (event.pointerType !== "touch") this.#move(this.#index(event));
    });
    box.addEventListener("click", (event) => {
      const index = this.#index(event);
      this.#move(index);
      if (index >= 0) this.choose(index);
    });
    box.addEventListener("keydown", (event) => this.#key(event));
  }

  clear() {
    this.characters = [];
    this.at = -1;
    this.box.replaceChildren();
  }

  get text() { return this.characters.map((c) => c.character).join(""); }

  // Each: {character, given, parts}; parts, the symbols under a syllable, are its letters unless they are named.
  append(added) {
    const spans = document.createDocumentFragment();
    for (const item of added) {
      const span = this.#span(item);
      span.index = this.characters.length;
      this.characters.push({ ...item, span });
      spans.append(span);
    }
    const low = this.box.scrollHeight - this.box.scrollTop - this.box.clientHeight < 40;
    this.box.append(spans);
    if (low) this.box.scrollTop = this.box.scrollHeight;
  }

  // Leaves only the first `count` characters.
  cut(count) {
    for (const { span } of this.characters.splice(count)) span.remove();
    if (this.at >= count) this.at = -1;
  }

  // Shades each character by the class `shade(index)`, and the parts under it by `part(index, k)`.
  shade(shade, part = () => "") {
    this.characters.forEach(({ span, given, character }, index) => {
      const name = shade(index);
      const kept = ["c", given && "given", character === "\n" && "nl", index === this.at && "at"];
      if (span.firstElementChild) {
        span.className = [...kept, "syl"].filter(Boolean).join(" ");
        span.firstElementChild.className = name;
        [...span.lastElementChild.children].forEach((under, k) => { under.className = part(index, k); });
      } else {
        span.className = [...kept, name].filter(Boolean).join(" ");
      }
    });
  }

  #span({ character, given, parts, shade = "" }) {
    const under = this.syllables ? parts ?? jamo(character) : null;
    const classes = ["c", given && "given"];
    if (under && jamo(character)) {
      return el("span", { className: [...classes, "syl"].filter(Boolean).join(" ") },
        el("b", { textContent: character, className: shade }),
        el("span", {}, ...under.map((symbol) => el("i", { textContent: symbol === "ᴥ" ? "·" : symbol }))));
    }
    classes.push(character === "\n" && "nl", shade);
    return el("span", { className: classes.filter(Boolean).join(" "), textContent: character });
  }

  // Points at a character from elsewhere.
  moveTo(index) {
    this.#move(index);
    const { span } = this.characters[index];
    const { top, bottom } = this.box.getBoundingClientRect();
    const place = span.getBoundingClientRect();
    if (place.top < top || place.bottom > bottom) this.box.scrollTop += place.top - (top + bottom) / 2;
  }

  #index(event) {
    return event.target.closest?.(".c")?.index ?? -1;
  }

  #move(index) {
    if (index < 0 || index >= this.characters.length || index === this.at) return;
    this.characters[this.at]?.span.classList.remove("at");
    this.at = index;
    this.characters[index].span.classList.add("at");
    this.point(index);
  }

  #key(event) {
    if (event.altKey || event.ctrlKey || event.metaKey || !this.characters.length) return;
    const last = this.characters.length - 1;
    const at = this.at;
    const to = {
      ArrowRight: () => Math.min(last, at + 1), ArrowLeft: () => Math.max(0, at - 1),
      ArrowDown: () => this.#line(1), ArrowUp: () => this.#line(-1), Home: () => 0, End: () => last,
    }[event.key];
    if (to) {
      event.preventDefault();
      this.#move(to());
      this.characters[this.at]?.span.scrollIntoView({ block: "nearest", inline: "nearest" });
    } else if (event.key === "Enter" && at >= 0) {
      event.preventDefault();
      this.choose(at);
    }
  }

  // The character a line up or down, as near as can be to straight.
  #line(direction) {
    if (this.at < 0) return 0;
    const from = this.characters[this.at].span;
    let best = this.at;
    let line = null;
    for (let k = this.at + direction; k >= 0 && k < this.characters.length; k += direction) {
      const { offsetTop, offsetLeft } = this.characters[k].span;
      if (Math.abs(offsetTop - from.offsetTop) < 4) continue;
      line ??= offsetTop;
      if (Math.abs(offsetTop - line) >= 4) break;
      if (best === this.at || Math.abs(offsetLeft - from.offsetLeft)
        < Math.abs(this.characters[best].span.offsetLeft - from.offsetLeft)) best = k;
    }
    return best;
  }
}

// The characters of what the server read, each with its symbols and the place of the first.
export function characters({ text, symbols, counts }) {
  const all = [...symbols];
  let start = 0;
  return [...text].map((character, k) => {
    const from = start;
    start += counts[k];
    return { character, from, parts: all.slice(from, start), label: named(character) };
  });
}
