// Training: the loss so far, and what the model wrote at its checkpoints, while it trains too.

import { attempt, byId, el, whole } from "./dom.js";
import { draw } from "./chart.js";

const EVERY = 2000; // milliseconds between looks
const SHOWN = 6; // checkpoints beside each other

// As many steps as fit, spread from the first to the last.
function spread(steps) {
  if (steps.length <= SHOWN) return steps;
  return Array.from({ length: SHOWN }, (_, k) => steps[Math.round((k * (steps.length - 1)) / (SHOWN - 1))]);
}

export class Training {
  constructor(source, newSteps) {
    this.source = source;
    this.newSteps = newSteps;
    this.columns = new Map();
    this.timer = 0;
    addEventListener("resize", () => this.#curve());
  }

  async show() {
    clearTimeout(this.timer);
    const panel = byId("training");
    const found = await attempt(() => this.source.training());
    if (found) {
      this.found = found;
      this.newSteps(found.steps);
      this.#curve();
      await this.#samples(spread(found.steps));
    }
    clearTimeout(this.timer);
    if (this.source.trains) this.timer = setTimeout(() => { if (!panel.hidden) this.show(); }, EVERY);
  }

  #curve() {
    if (!this.found || byId("training").hidden) return;
    const { loss, val_loss: val, step, seconds, live } = this.found;
    const state = live ? "Training now" : "Not training now";
    const minutes = seconds >= 90 ? `${(seconds / 60).toFixed(0)} min` : `${seconds.toFixed(0)} s`;
    const last = loss.length ? loss[loss.length - 1][1].toFixed(3) : "";
    const best = val.length ? Math.min(...val.map(([, nats]) => nats)).toFixed(3) : "";
    const sentence = loss.length
      ? `${state}: step ${whole(step)} after ${minutes}, loss ${last}${best && `, best validation ${best}`} nats per symbol.`
      : "This run has no record of its training; it was imported.";
    if (byId("training-status").textContent !== sentence) byId("training-status").textContent = sentence;
    const svg = byId("training-chart");
    svg.closest("figure").hidden = !loss.length;
    byId("training-key-val").hidden = !val.length;
    svg.setAttribute("aria-label", `Loss curve. ${sentence}`);
    draw(svg, loss, val, (point, valued) => {
      byId("training-at").textContent = point
        ? `step ${whole(point[0])}: ${point[1].toFixed(3)}${valued ? `; validation at ${whole(valued[0])}: ${valued[1].toFixed(3)}` : ""}`
        : "nats per symbol, by step";
    });
  }

  async #samples(steps) {
    const box = byId("training-samples");
    for (const [step, column] of this.columns) {
      if (!steps.includes(step)) {
        column.remove();
        this.columns.delete(step);
      }
    }
    for (const step of steps) {
      if (this.columns.has(step)) continue;
      let found;
      try {
        found = await this.source.sample(step);
      } catch {
        continue; // training has removed the checkpoint in between
      }
      if (this.columns.has(step)) continue;
      const column = el("article", {}, el("h3", { textContent: `step ${whole(step)}` }),
        el("pre", {}, el("b", { textContent: found.prime }), found.text));
      this.columns.set(step, column);
      const later = [...this.columns.keys()].filter((s) => s > step).sort((a, b) => a - b)[0];
      box.insertBefore(column, later === undefined ? null : this.columns.get(later));
    }
  }
}
