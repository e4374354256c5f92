// Draw: a digit drawn by hand, and the row classifier's probabilities while it reads it, part by part.

import { attempt, bar, byId, bytesOf, el, say } from "./dom.js";

const PEN = 22; // of 280 pixels: about MNIST's stroke width if the digit fills the pad
const MOVE = 10; // pixels that an arrow key moves the pen
const SIDE = 28; // pixels per side, and the number of parts
const TICK = 90; // milliseconds per part in the animation

// Draws an image of bytes, 255 for ink, in the page's colours; pixels for which `read` is false are faint.
export function paintDigit(canvas, image, read = () => true) {
  const context = canvas.getContext("2d");
  const picture = context.createImageData(SIDE, SIDE);
  const ink = getComputedStyle(document.documentElement).getPropertyValue("--ink").match(/[0-9a-f]{2}/gi).map((part) => parseInt(part, 16));
  image.forEach((value, k) => picture.data.set([...ink, read(k) ? value : value * 0.2], 4 * k));
  context.putImageData(picture, 0, 0);
}

function percentOf(part) {
  return `${(100 * part).toFixed(part > 0.995 || part < 0.001 ? 0 : 1)} %`;
}

export class Draw {
  constructor(source, run) {
    this.source = source;
    this.run = run;
    this.pad = byId("draw-pad");
    this.context = this.pad.getContext("2d", { willReadFrequently: true });
    this.pen = { x: 140, y: 60, down: false };
    this.asking = null; // a promise while drawings are classified
    this.asked = null; // pixels of the current request; null if they are cleared
    this.next = null; // pixels to classify after it
    this.timer = 0;
    byId("draw-how").textContent = this.#how();
    this.pad.addEventListener("pointerdown", (event) => this.#down(event));
    this.pad.addEventListener("pointermove", (event) => this.#drag(event));
    this.pad.addEventListener("keydown", (event) => this.#key(event));
    byId("draw-clear").addEventListener("click", () => this.clear());
    byId("draw-example").addEventListener("click", () => this.#example());
    byId("draw-parts").addEventListener("input", () => { clearInterval(this.timer); this.#part(); });
  }

  show() {
    if (this.image) this.#ask(this.pixels); // the checkpoint may have changed
  }

  clear() {
    this.context.clearRect(0, 0, 280, 280);
    this.asked = this.next = null;
    this.image = null;
    clearInterval(this.timer);
    byId("draw-seen").getContext("2d").clearRect(0, 0, SIDE, SIDE);
    byId("draw-says").textContent = "No drawing yet";
    byId("draw-beliefs").replaceChildren();
    byId("draw-maps").replaceChildren();
    byId("draw-part").textContent = "";
  }

  // Puts an image on the pad and animates its classification.
  async read(image) {
    this.clear();
    const small = el("canvas", { width: SIDE, height: SIDE });
    paintDigit(small, image);
    this.context.drawImage(small, 0, 0, 280, 280);
    await this.#ask(image);
    this.#play();
  }

  #how() {
    const part = this.run.reads === "permuted" ? "28 pixels in the run's scrambled order" : "one row";
    return this.run.bidirectional
      ? `Each line adds ${part} and shows the classifier's output on that part alone. Left: from the beginning to this line. Right: from `
        + "this line to the end."
      : `Each line adds ${part} and shows the classifier's output so far.`;
  }

  #down(event) {
    event.preventDefault();
    this.pad.focus();
    this.pad.setPointerCapture(event.pointerId);
    this.from = this.#place(event);
    this.#line(this.from, this.from);
  }

  #drag(event) {
    if (!this.pad.hasPointerCapture(event.pointerId)) return;
    const all = event.getCoalescedEvents?.() ?? [];
    for (const one of all.length ? all : [event]) {
      const to = this.#place(one);
      this.#line(this.from, to);
      this.from = to;
    }
  }

  #place(event) {
    const box = this.pad.getBoundingClientRect();
    return { x: ((event.clientX - box.left) / box.width) * 280, y: ((event.clientY - box.top) / box.height) * 280 };
  }

  #key(event) {
    const [x, y] = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1] }[event.key] ?? [0, 0];
    if (event.key === " ") this.pen.down = !this.pen.down;
    else if (!x && !y) return;
    event.preventDefault();
    const to = { ...this.pen, x: Math.max(14, Math.min(266, this.pen.x + MOVE * x)), y: Math.max(14, Math.min(266, this.pen.y + MOVE * y)) };
    if (this.pen.down) this.#line(this.pen, to);
    this.pen = to;
    byId("draw-pen").hidden = false;
    Object.assign(byId("draw-pen").style, { left: `${(to.x / 280) * 100}%`, top: `${(to.y / 280) * 100}%` });
    byId("draw-pen").classList.toggle("down", to.down);
    say(`Pen ${to.down ? "down" : "up"}, ${Math.round(to.x / 2.8)} % from the left, ${Math.round(to.y / 2.8)} % from the top`);
  }

  #line(from, to) {
    Object.assign(this.context, { lineWidth: PEN, lineCap: "round", strokeStyle: getComputedStyle(this.pad).color });
    this.context.beginPath();
    this.context.moveTo(from.x, from.y);
    this.context.lineTo(to.x, to.y + 0.01); // a click draws a point
    this.context.stroke();
    clearInterval(this.timer);
    byId("draw-parts").value = SIDE;
    this.#ask(this.#pixels());
  }

  // The pad at half size, one byte of ink per pixel.
  #pixels() {
    const { data } = this.context.getImageData(0, 0, 280, 280);
    const ink = (x, y) => data[4 * (280 * y + x) + 3];
    return Uint8Array.from({ length: 140 * 140 }, (_, k) => {
      const [x, y] = [2 * (k % 140), 2 * Math.floor(k / 140)];
      return (ink(x, y) + ink(x + 1, y) + ink(x, y + 1) + ink(x + 1, y + 1)) / 4;
    });
  }

  // Classifies a square of bytes; during a request, only the latest drawing waits.
  async #ask(pixels) {
    this.next = pixels;
    this.asking ??= this.#classify();
    await this.asking;
  }

  async #classify() {
    while (this.next) {
      const pixels = this.next;
      [this.asked, this.next] = [pixels, null];
      const text = String.fromCharCode(...pixels);
      const found = await attempt(() => this.source.classify(btoa(text)));
      if (!found || this.asked !== pixels) continue;
      this.pixels = pixels;
      this.image = bytesOf(found.image);
      this.beliefs = found.beliefs;
      this.#maps();
      this.#part();
    }
    this.asking = null;
  }

  #maps() {
    const names = { first: this.run.bidirectional ? "from the beginning" : "read so far", last: "from the end" };
    byId("draw-maps").replaceChildren(...Object.entries(this.beliefs).map(([where, rows]) => {
      const canvas = el("canvas", { width: 10, height: SIDE, className: "pixels belief" });
      const context = canvas.getContext("2d");
      rows.forEach((row, k) => row.forEach((belief, digit) => {
        context.fillStyle = `rgb(194 84 27 / ${belief})`;
        context.fillRect(digit, where === "first" ? k : SIDE - 1 - k, 1, 1);
      }));
      canvas.setAttribute("role", "img");
      const most = (row) => row.indexOf(Math.max(...row));
      canvas.setAttribute("aria-label", `Likeliest digit, ${names[where]}: ${rows.map((row, k) => `${k + 1} of 28: ${most(row)}`).filter((_, k) => k % 4 === 3).join(", ")}`);
      return el("figure", {}, el("p", { className: "digits-head", ariaHidden: "true" }, ...[..."0123456789"].map((d) => el("span", { textContent: d }))),
        canvas, el("figcaption", { className: "help", textContent: names[where] }));
    }));
  }

  // Shows the probabilities after the chosen number of parts.
  #part() {
    if (!this.image) return;
    const part = Number(byId("draw-parts").value);
    byId("draw-part").textContent = `${part} of ${SIDE} parts`;
    const order = this.run.order ?? Array.from({ length: SIDE * SIDE }, (_, k) => k);
    const place = new Map(order.map((pixel, step) => [pixel, Math.floor(step / SIDE)]));
    paintDigit(byId("draw-seen"), this.image, (k) => place.get(k) < part);
    const ways = Object.entries(this.beliefs).map(([where, rows]) => [where, rows[part - 1]]);
    const [[, row]] = ways;
    const best = row.indexOf(Math.max(...row));
    byId("draw-says").textContent = part === SIDE ? `This is a ${best}: ${percentOf(row[best])}` : `So far a ${best}: ${percentOf(row[best])}`;
    const titles = { first: "From the beginning", last: "From the end" };
    byId("draw-beliefs").replaceChildren(...ways.map(([where, beliefs]) => el("div", {},
      ...(ways.length > 1 && part < SIDE ? [el("p", { className: "help", textContent: titles[where] })] : []),
      el("ul", { className: "bars" }, ...beliefs.map((belief, digit) => el(
        "li", { className: belief === Math.max(...beliefs) ? "true" : "" }, el("span", { className: "name", textContent: digit }), bar(belief),
        el("span", { className: "number", textContent: percentOf(belief) }),
      ))))).slice(0, part === SIDE ? 1 : 2));
  }

  #play() {
    if (!this.image || matchMedia("(prefers-reduced-motion: reduce)").matches) return;
    let part = 0;
    clearInterval(this.timer);
    this.timer = setInterval(() => {
      part += 1;
      byId("draw-parts").value = part;
      this.#part();
      if (part >= SIDE) clearInterval(this.timer);
    }, TICK);
  }

  async #example() {
    const digit = Math.floor(Math.random() * 10);
    const found = await attempt(() => this.source.cell(digit, digit));
    if (!found) return;
    const { images } = found;
    if (images.length) await this.read(bytesOf(images[Math.floor(Math.random() * images.length)].image));
    else byId("draw-says").textContent = "The test images are not classified yet. Try again in a moment.";
  }
}
