// Entry point: the header, the tabs and their views.

import { attempt, byId, el, whole } from "./dom.js";
import { sourceOf } from "./source.js";
import { fillLegends } from "./text.js";
import { Write } from "./write.js";
import { Read } from "./read.js";
import { Inside } from "./inside.js";
import { Training } from "./training.js";
import { Lessons } from "./lessons.js";
import { Draw } from "./draw.js";
import { Mistakes } from "./mistakes.js";

const POLL = 10000; // milliseconds between checks for newer checkpoints

const READS = { rows: "rows", pixels: "pixels", permuted: "pixels in scrambled order" };

const CELLS = { lstm: "LSTM", gru: "GRU", rnn: "vanilla RNN" };

function tabs(views, first) {
  const all = [...document.querySelectorAll('[role="tab"]')];
  const buttons = all.filter((button) => views[button.getAttribute("aria-controls")]);
  for (const button of all) button.hidden = !buttons.includes(button);
  function open(button) {
    for (const other of buttons) {
      const chosen = other === button;
      other.setAttribute("aria-selected", String(chosen));
      other.tabIndex = chosen ? 0 : -1;
      byId(other.getAttribute("aria-controls")).hidden = !chosen;
    }
    views[button.getAttribute("aria-controls")].show();
  }
  buttons.forEach((button, k) => {
    button.addEventListener("click", () => open(button));
    button.addEventListener("keydown", (event) => {
      const to = { ArrowRight: k + 1, ArrowLeft: k - 1, Home: 0, End: buttons.length - 1 }[event.key];
      if (to === undefined) return;
      event.preventDefault();
      const next = buttons[(to + buttons.length) % buttons.length];
      next.focus();
      open(next);
    });
  });
  const openByName = (name) => open(byId("tab-" + name));
  openByName(first);
  return openByName;
}

function describe(run, kind) {
  document.title = `${run.name} · ${kind === "local" ? "rnntk" : "rnntk play"}`;
  byId("run-name").textContent = run.name;
  const parameters = run.parameters ? `, ${whole(run.parameters)} parameters` : "";
  const reads = run.vocabulary
    ? `${[...run.vocabulary].length} symbols, trained on ${run.corpus || "a text"}`
    : `reads ${READS[run.reads]}${run.bidirectional ? ", in both directions" : ""}, trained on ${run.corpus}`;
  byId("run-facts").textContent = `${CELLS[run.cell]}, ${run.layers} × ${run.units} units${parameters}, ${reads}, step ${whole(run.step)}`;
  document.body.classList.toggle("hangul", Boolean(run.hangul));
}

function checkpoints(source, run) {
  const select = byId("checkpoint");
  let known = "";
  source.step = run.step;
  // The chosen one stays listed when training removes it.
  function fill(found) {
    const steps = [...new Set([...found, source.step])].sort((a, b) => a - b);
    if (String(steps) === known) return;
    known = String(steps);
    select.replaceChildren(...steps.map(
      (step) => el("option", { value: step, textContent: `step ${whole(step)}`, selected: step === source.step }),
    ));
  }
  fill(run.steps);
  return fill;
}

// Views of a row classifier.
function digitViews(source, run, fill, open) {
  const draw = new Draw(source, run);
  const mistakes = new Mistakes(source, (image) => { open("draw"); draw.read(image); });
  return { draw, mistakes, training: new Training(source, run, fill) };
}

async function textViews(source, run, fill, open) {
  const shared = { text: "" };
  const views = {};
  if (source.writes) {
    views.write = new Write(source, run, (text) => {
      shared.text = [...text].slice(-run.limits.text).join("");
      open("read");
    });
    const own = await attempt(() => source.text());
    shared.text = shared.own = own?.text || run.prime;
    shared.of = own?.of;
  }
  views.read = new Read(source, run, shared);
  views.inside = new Inside(source, run, shared);
  if (source.kind !== "local") views.training = new Training(source, run, fill);
  views.lessons = new Lessons({ source, run, shared, views, open });
  return views;
}

async function start() {
  const source = await attempt(() => sourceOf(document));
  if (!source) return;
  document.body.classList.add(source.kind);
  fillLegends();
  const run = await attempt(() => source.run());
  if (!run) return;
  describe(run, source.kind);
  const fill = checkpoints(source, run);
  let openView = () => {};
  const open = (name) => openView(name);
  const views = run.vocabulary ? await textViews(source, run, fill, open) : digitViews(source, run, fill, open);
  openView = tabs(views, Object.keys(views).at(source.kind === "report" ? -1 : 0));
  byId("checkpoint").addEventListener("change", () => {
    source.step = Number(byId("checkpoint").value);
    byId("run-facts").textContent = byId("run-facts").textContent.replace(/step [\d,]+$/, `step ${whole(source.step)}`);
    for (const [name, view] of Object.entries(views)) if (!byId(name).hidden) view.show();
  });
  if (source.trains) {
    // Not while the user is choosing a checkpoint, nor in Training, which polls by itself.
    setInterval(async () => {
      if (document.hidden || !byId("training").hidden || document.activeElement === byId("checkpoint")) return;
      const found = await source.training().catch(() => null); // the next request reports a stopped server
      if (found) fill(found.checkpoints);
    }, POLL);
  }
  document.body.dataset.ready = "yes";
}

start();
