// Write: a text streams in while it is generated; it can be stopped, and continued from any character.

import { attempt, byId, copy, named, save, say, sleep, submitByCtrlEnter, whole } from "./dom.js";
import { unknownIn } from "./codec.js";
import { TextView, bitsShade } from "./text.js";

const FRAME = 30; // milliseconds
const AHEAD = 4000; // characters received but not yet shown, at most

function number(id) {
  const value = byId(id).value.trim();
  return value === "" ? null : Number(value);
}

export class Write {
  constructor(source, run, openRead) {
    this.source = source;
    this.run = run;
    this.limits = run.limits;
    this.view = new TextView(byId("write-text"), {
      syllables: run.hangul, choose: (index) => this.#goOn(index), follow: true,
    });
    this.stopping = null;
    this.alive = false; // whether the first text has begun
    byId("write-prime").value = run.prime;
    byId("write-length").value = run.defaults.length;
    byId("write-length").max = run.limits.length;
    const [temperature, slider] = [byId("write-temperature"), byId("write-slider")];
    temperature.value = slider.value = run.defaults.temperature;
    byId("write-form").addEventListener("submit", (event) => {
      event.preventDefault();
      this.#begin();
    });
    submitByCtrlEnter(byId("write-form"));
    byId("write-prime").addEventListener("input", () => this.#checkPrompt());
    temperature.addEventListener("input", () => { slider.value = this.#temperature(); });
    slider.addEventListener("input", () => { temperature.value = slider.value; });
    // A running text continues at the new temperature.
    for (const field of [temperature, slider]) {
      field.addEventListener("change", () => {
        if (this.stopping) this.#goOn(this.view.characters.length - 1, this.left);
      });
    }
    byId("write-stop").addEventListener("click", () => this.stop());
    byId("write-on").addEventListener("click", () => this.#goOn(this.view.characters.length - 1));
    byId("write-read").addEventListener("click", () => openRead(this.view.text));
    byId("write-copy").addEventListener("click", async () => {
      byId("write-status").textContent = await copy(this.view.text) ? "Copied." : "The browser refused to copy.";
    });
    byId("write-save").addEventListener("click", () => save(this.view.text, `${run.name}.txt`));
  }

  // Starts by itself the first time, unless the system asks for reduced motion.
  show() {
    if (this.alive || matchMedia("(prefers-reduced-motion: reduce)").matches) return;
    this.alive = true;
    this.#begin(true);
  }

  stop() {
    this.stopping?.abort();
  }

  #begin(byItself = false) {
    this.view.clear();
    this.#write(byId("write-prime").value, this.#length(), byItself);
  }

  #goOn(index, length = this.#length()) {
    if (!byId("write-form").reportValidity()) return; // before the text is cut
    if (index < 0) { // the prompt is not shown yet
      this.#begin();
      return;
    }
    this.view.cut(index + 1);
    this.#write(this.view.text, length);
  }

  #length() { return number("write-length") ?? this.run.defaults.length; }
  #temperature() { return number("write-temperature") ?? this.run.defaults.temperature; }

  #checkPrompt() {
    const unknown = unknownIn(byId("write-prime").value, this.run);
    byId("write-unknown").textContent = unknown.length
      ? `Not in the model's vocabulary, left out: ${unknown.map(named).join(" ")}` : "";
  }

  async #write(prime, length, byItself = false) {
    this.stop();
    this.alive = true;
    const stopping = new AbortController();
    this.stopping = stopping;
    this.left = length;
    this.#buttons(true);
    const cut = [...prime].length - this.limits.text;
    const asked = {
      prime: cut > 0 ? [...prime].slice(cut).join("") : prime,
      temperature: this.#temperature(), top_k: number("write-top-k"), top_p: number("write-top-p"),
      seed: number("write-seed"), length,
    };
    const queue = [];
    const state = { generating: true, seed: null, skipped: [] };
    byId("write-status").textContent = "Writing …";
    const painting = this.#paint(queue, state, stopping.signal);
    const take = async (line) => {
      if (stopping.signal.aborted) return;
      if (line.error) throw new Error(line.error);
      if ("seed" in line) {
        Object.assign(state, line);
        if (!this.view.characters.length) this.view.append([...line.prime].map((c) => ({ character: c, given: true })));
      }
      for (const [text, nats] of line.pieces ?? []) {
        const letters = [...text];
        const bits = nats / Math.LN2 / Math.max(1, letters.length);
        queue.push(...letters.map((character) => ({ character, shade: bitsShade(bits) })));
      }
      while (queue.length > AHEAD && !stopping.signal.aborted) await sleep(FRAME);
    };
    const isDone = await attempt(async () => {
      await this.source.write(asked, stopping.signal, take);
      return true;
    });
    state.generating = false;
    await painting;
    if (this.stopping !== stopping) return; // another text has begun
    this.stopping = null;
    this.#buttons(false);
    const how = isDone && !stopping.signal.aborted ? "Written" : "Stopped";
    const left = state.skipped.length ? ` Not in the vocabulary, left out: ${state.skipped.map(named).join(" ")}` : "";
    if (state.seed === null) {
      byId("write-status").textContent = "";
    } else {
      byId("write-status").textContent = `${how}: ${whole(this.view.characters.length)} characters, seed ${state.seed}.${left}`;
      if (!byItself) say(`${how}. ${this.view.text.slice(-300)}`);
    }
  }

  // Shows queued characters at the chosen speed; pauses while the browser tab is hidden.
  async #paint(queue, state, signal) {
    let due = 0;
    let before = performance.now();
    while ((state.generating || queue.length) && !signal.aborted) {
      const now = performance.now();
      const pace = Number(byId("write-pace").value);
      due = pace ? Math.min(due + (pace * (now - before)) / 1000, pace) : 300;
      before = now;
      const count = document.hidden ? 0 : Math.min(queue.length, Math.floor(due));
      if (count) this.view.append(queue.splice(0, count));
      this.left = Math.max(0, this.left - count);
      due -= count;
      await sleep(FRAME);
    }
  }

  #buttons(writing) {
    byId("write-stop").disabled = !writing;
    for (const id of ["write-on", "write-read", "write-copy", "write-save"]) byId(id).disabled = writing;
  }
}
