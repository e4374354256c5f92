// Write: a text that streams in as it is drawn, and can be stopped and gone on with anywhere.

import { attempt, byId, say, sleep, whole } from "./dom.js";
import { TextView, bitsShade } from "./text.js";

const FRAME = 30; // milliseconds
const AHEAD = 400; // characters that wait to be shown before no more are taken from the server

function number(id) {
  const value = byId(id).value.trim();
  return value === "" ? null : Number(value);
}

export class Write {
  constructor(source, run, openRead) {
    this.source = source;
    this.limits = run.limits;
    this.view = new TextView(byId("write-text"), {
      syllables: run.hangul, choose: (index) => this.#goOn(index),
    });
    this.stopping = null;
    byId("write-prime").value = run.prime;
    byId("write-length").max = run.limits.length;
    byId("write-form").addEventListener("submit", (event) => {
      event.preventDefault();
      this.view.clear();
      this.#run(byId("write-prime").value);
    });
    byId("write-stop").addEventListener("click", () => this.stop());
    byId("write-on").addEventListener("click", () => this.#goOn(this.view.characters.length - 1));
    byId("write-read").addEventListener("click", () => openRead(this.view.text));
  }

  show() {}

  stop() {
    this.stopping?.abort();
  }

  #goOn(index) {
    this.view.cut(index + 1);
    this.#run(this.view.text);
  }

  async #run(prime) {
    this.stop();
    const stopping = new AbortController();
    this.stopping = stopping;
    this.#buttons(true);
    const cut = [...prime].length - this.limits.text;
    const asked = {
      prime: cut > 0 ? [...prime].slice(cut).join("") : prime,
      temperature: number("write-temperature"), top_k: number("write-top-k"), top_p: number("write-top-p"),
      seed: number("write-seed"), length: number("write-length"),
    };
    const queue = [];
    const state = { generating: true, seed: null, skipped: [] };
    byId("write-status").textContent = "Writing …";
    const painting = this.#paint(queue, state, stopping.signal);
    await attempt(() => this.source.write(asked, stopping.signal, async (line) => {
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
    }));
    state.generating = false;
    await painting;
    if (this.stopping !== stopping) return; // another one has begun
    this.stopping = null;
    this.#buttons(false);
    const how = stopping.signal.aborted ? "Stopped" : "Written";
    const left = state.skipped.length ? ` Left out, never seen: ${state.skipped.join(" ")}` : "";
    if (state.seed === null) {
      byId("write-status").textContent = "";
    } else {
      byId("write-status").textContent = `${how}: ${whole(this.view.characters.length)} characters, seed ${state.seed}.${left}`;
      say(`${how}. ${this.view.text.slice(-300)}`);
    }
  }

  // Shows what is queued, at the pace that is chosen.
  async #paint(queue, state, signal) {
    let due = 0;
    let before = performance.now();
    while ((state.generating || queue.length) && !signal.aborted) {
      const now = performance.now();
      const pace = Number(byId("write-pace").value);
      due = pace ? Math.min(due + (pace * (now - before)) / 1000, pace) : 300;
      before = now;
      const count = Math.min(queue.length, Math.floor(due));
      if (count) this.view.append(queue.splice(0, count));
      due -= count;
      await sleep(FRAME);
    }
  }

  #buttons(writing) {
    byId("write-stop").disabled = !writing;
    byId("write-on").disabled = writing;
    byId("write-read").disabled = writing;
  }
}
