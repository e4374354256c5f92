// Training: the loss beside baselines, and a sample from each checkpoint; follows a run that is training.

import { attempt, byId, el, whole } from "./dom.js";
import { draw, nearest } from "./chart.js";

const EVERY = 2000; // milliseconds between updates
const SHOWN = 6; // samples side by side

function spread(steps) {
  if (steps.length <= SHOWN) return steps;
  return Array.from({ length: SHOWN }, (_, k) => steps[Math.round((k * (steps.length - 1)) / (SHOWN - 1))]);
}

function percentage(part) {
  return `${(100 * part).toFixed(1)} %`;
}

export class Training {
  constructor(source, run, newSteps) {
    this.source = source;
    this.newSteps = newSteps;
    this.writes = run.kind !== "row-classifier";
    this.per = this.writes ? "nats per symbol" : "nats per image";
    this.columns = new Map();
    this.samples = new Map();
    this.timer = 0;
    this.at = null; // step of the chosen checkpoint; null for the latest
    byId("training-at").textContent = `${this.per}, by step`;
    byId("training-beside").hidden = !this.writes;
    byId("training-sample").hidden = !this.writes;
    addEventListener("resize", () => this.#curves());
    byId("training-step").addEventListener("input", () => {
      const { steps } = this.found;
      const place = Number(byId("training-step").value);
      this.at = place === steps.length - 1 ? null : steps[place];
      this.#scrub();
    });
  }

  async show() {
    clearTimeout(this.timer);
    const panel = byId("training");
    const found = await attempt(() => this.source.training());
    if (found) {
      this.found = found;
      if (this.source.trains) this.newSteps(found.checkpoints);
      await this.#scrub();
      if (this.writes) await this.#samples(spread(found.steps));
    }
    clearTimeout(this.timer);
    if (this.source.trains) this.timer = setTimeout(() => { if (!panel.hidden) this.show(); }, EVERY);
  }

  #curves() {
    if (!this.found || byId("training").hidden) return;
    const { loss, val_loss: val, accuracy, val_accuracy: valAccuracy, step, seconds, live, baselines } = this.found;
    const state = live ? "Training" : "Not training";
    const minutes = seconds >= 90 ? `${(seconds / 60).toFixed(0)} min` : `${seconds.toFixed(0)} s`;
    const last = loss.length ? loss[loss.length - 1][1].toFixed(3) : "";
    const best = val.length ? Math.min(...val.map(([, nats]) => nats)).toFixed(3) : "";
    const right = valAccuracy?.length ? `; validation accuracy ${percentage(valAccuracy[valAccuracy.length - 1][1])}` : "";
    const sentence = loss.length
      ? `${state}: step ${whole(step)} after ${minutes}, loss ${last} (${step > 100 ? "mean of the last 100 steps" : step > 1 ? `mean of all ${step} steps` : "of 1 step"})${best && `, best validation ${best}`} ${this.per}${right}.`
      : "This run has no training record. Was it imported?";
    if (byId("training-status").textContent !== sentence) byId("training-status").textContent = sentence;
    const svg = byId("training-chart");
    svg.closest("figure").hidden = !loss.length;
    byId("training-key-val").hidden = !val.length;
    svg.setAttribute("aria-label", `Loss curve. ${sentence}`);
    const marked = this.#step();
    const lines = (baselines ?? []).map(({ title, nats }) => ({ title, value: nats }));
    draw(svg, loss, val, { lines, marked, look: (point, valued) => {
      byId("training-at").textContent = point
        ? `step ${whole(point[0])}: ${point[1].toFixed(3)}${valued ? `; validation at ${whole(valued[0])}: ${valued[1].toFixed(3)}` : ""}`
        : `${this.per}, by step`;
    } });
    byId("training-accuracies").hidden = !accuracy?.length;
    if (accuracy?.length) draw(byId("training-accuracy"), accuracy, valAccuracy, { lines: [{ title: "guessing", value: 0.1 }], marked, most: 1 });
  }

  #step() {
    const { steps } = this.found;
    return steps.includes(this.at) ? this.at : steps[steps.length - 1];
  }

  // Updates the slider, the mark on the curve and the sample.
  async #scrub() {
    const { steps, loss, val_loss: val, val_accuracy: valAccuracy } = this.found;
    const step = this.#step();
    const slider = byId("training-step");
    slider.max = steps.length - 1;
    slider.value = steps.indexOf(step);
    const known = [["loss", nearest(loss, step)?.[1].toFixed(3)], ["validation", nearest(val, step)?.[1].toFixed(3)],
      ["validation accuracy", valAccuracy?.length ? percentage(nearest(valAccuracy, step)[1]) : undefined]];
    const told = `step ${whole(step)}` + known.map(([name, value]) => (value === undefined ? "" : `, ${name} ${value}`)).join("");
    byId("training-chosen").textContent = told;
    slider.setAttribute("aria-valuetext", told);
    this.#curves();
    if (!this.writes) return;
    const sample = await this.#sample(step);
    if (sample && this.#step() === step) byId("training-sample").replaceChildren(el("b", { textContent: sample.prime }), sample.text);
  }

  // null if training has removed the checkpoint since.
  async #sample(step) {
    if (!this.samples.has(step)) {
      const found = await this.source.sample(step).catch(() => null);
      if (!found) return null;
      this.samples.set(step, found);
    }
    return this.samples.get(step);
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
      const found = await this.#sample(step);
      if (!found || this.columns.has(step)) continue;
      const column = el("article", {}, el("h3", { textContent: `step ${whole(step)}` }),
        el("pre", {}, el("b", { textContent: found.prime }), found.text));
      this.columns.set(step, column);
      const later = [...this.columns.keys()].filter((s) => s > step).sort((a, b) => a - b)[0];
      box.insertBefore(column, later === undefined ? null : this.columns.get(later));
    }
  }
}
