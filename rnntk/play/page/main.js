// Start: what the run is, the tabs, and the view of each.

import { attempt, byId, el, whole } from "./dom.js";
import { sourceOf } from "./source.js";
import { fillLegends } from "./text.js";
import { Write } from "./write.js";
import { Read } from "./read.js";
import { Inside } from "./inside.js";
import { Training } from "./training.js";

const NEWER = 10000; // milliseconds between looks for newer checkpoints

const CELLS = { lstm: "LSTM", gru: "GRU", rnn: "vanilla RNN" };

function tabs(views, first) {
  const buttons = [...document.querySelectorAll('[role="tab"]')].filter((button) => views[button.getAttribute("aria-controls")]);
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
  byId("run-facts").textContent = `${CELLS[run.cell]}, ${run.layers} × ${run.units} units${parameters}, `
    + `${[...run.vocabulary].length} symbols, on ${run.corpus || "a text"}, step ${whole(run.step)}`;
  document.body.classList.toggle("hangul", run.hangul);
}

function checkpoints(source, run) {
  const select = byId("checkpoint");
  let known = "";
  source.step = run.step;
  function fill(steps) {
    if (String(steps) === known) return;
    known = String(steps);
    select.replaceChildren(...steps.map(
      (step) => el("option", { value: step, textContent: `step ${whole(step)}`, selected: step === source.step }),
    ));
  }
  fill(run.steps);
  return fill;
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
  const shared = { text: "" };
  const views = {};
  let open = () => {};
  if (source.writes) {
    views.write = new Write(source, run, (text) => {
      shared.text = [...text].slice(-run.limits.text).join("");
      open("read");
    });
    const opening = await attempt(() => (source.trains ? source.sample(run.step) : source.text()));
    shared.text = opening ? (opening.prime ?? "") + opening.text : run.prime;
  }
  views.read = new Read(source, run, shared);
  views.inside = new Inside(source, run, shared);
  if (source.kind !== "local") views.training = new Training(source, fill);
  open = tabs(views, source.writes ? "write" : "read");
  byId("checkpoint").addEventListener("change", () => {
    source.step = Number(byId("checkpoint").value);
    byId("run-facts").textContent = byId("run-facts").textContent.replace(/step [\d,]+$/, `step ${whole(source.step)}`);
    for (const [name, view] of Object.entries(views)) if (!byId(name).hidden) view.show();
  });
  if (source.trains) {
    // Newer checkpoints appear at the top whatever is shown, but not under the hand that chooses one. The Training view
    // looks by itself.
    setInterval(async () => {
      if (document.hidden || !byId("training").hidden || document.activeElement === byId("checkpoint")) return;
      const found = await source.training().catch(() => null); // when the server has ended, the next question will say so
      if (found) fill(found.steps);
    }, NEWER);
  }
  document.body.dataset.ready = "yes";
}

start();
