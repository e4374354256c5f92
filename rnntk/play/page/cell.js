// A diagram of the recurrent cell that explains the part pointed at.

import { svgNode } from "./dom.js";

const BUS = "M20 200H"; // carries x and the previous h to the gates
const INPUT = { key: "x", at: [68, 244], label: "input x", says: "The input at this step: the embedding of the symbol, or the hidden state of the layer below." };
const BEFORE = { key: "before", at: [62, 200], label: "previous h", says: "The layer's hidden state after the previous step. Every gate reads it." };

// Per cell: lines, signs where values meet, and parts. A part's `key` is the quantity that shows its values, if there is one.
const CELL_PICTURES = {
  lstm: {
    lines: ["M20 50H640", `${BUS}415V157`, "M68 228V200", "M115 200V157M205 200V157M305 200V157", "M115 123V50", "M205 123V95H305V123",
      "M255 95V50", "M480 50V140", "M457 140H640"],
    signs: [[115, 50, "×"], [255, 50, "+"], [255, 95, "×"], [480, 140, "×"]],
    parts: [
      { key: "f", at: [115, 140], label: "forget f", gate: true, says: "Forget gate: how much of its cell state each unit keeps. 1 keeps all, 0 nothing." },
      { key: "i", at: [205, 140], label: "input i", gate: true, says: "Input gate: how much of the candidate each unit adds to its cell state." },
      { key: "g", at: [305, 140], label: "candidate g", gate: true, says: "Candidate: the new content, from −1 to 1, computed from the input and the previous hidden state." },
      { key: "o", at: [415, 140], label: "output o", gate: true, says: "Output gate: how much of its cell state each unit passes on." },
      { key: "c", at: [360, 50], label: "cell state c", says: "Cell state, the memory: only multiplied by the forget gate and added to, so its gradient need not vanish." },
      { key: "tanh", at: [480, 95], label: "tanh", says: "tanh limits the cell state to between −1 and 1 before it is passed on." },
      { key: "h", at: [566, 140], label: "hidden state h", says: "Hidden state, the layer's output: the part of the cell state that the output gate lets through." },
      INPUT, BEFORE,
    ],
  },
  gru: {
    lines: ["M20 50H640", `${BUS}440V157`, "M68 228V200", "M150 200V157M280 200V157", "M150 123V50", "M150 95H440", "M440 123V50",
      "M312 140H408", "M360 200V140", "M20 200V50"],
    signs: [[150, 50, "×"], [440, 50, "+"], [440, 95, "×"], [360, 140, "×"]],
    parts: [
      { key: "z", at: [150, 140], label: "update z", gate: true, says: "Update gate: how much of its hidden state each unit keeps. 1 keeps all; 0 replaces it by the candidate." },
      { key: "one", at: [290, 95], label: "1 − z", says: "The weight of the candidate: what is not kept is replaced." },
      { key: "r", at: [280, 140], label: "reset r", gate: true, says: "Reset gate: how much of the previous hidden state the candidate uses. At 0 only the input counts." },
      { key: "g", at: [440, 140], label: "candidate g", gate: true, says: "Candidate: the proposed new state, from −1 to 1." },
      { key: "h", at: [550, 50], label: "hidden state h", says: "Hidden state, also the layer's output: the previous state and the candidate, weighted by z and 1 − z." },
      INPUT, BEFORE,
    ],
  },
  rnn: {
    lines: [`${BUS}300V157`, "M68 228V200", "M300 123V50H640"],
    signs: [],
    parts: [
      { key: "tanh", at: [300, 140], label: "tanh", gate: true, says: "The whole cell: input and previous hidden state, each times its weights, are added and limited to between −1 and 1. No gate protects the state, so the past fades with every step." },
      { key: "h", at: [550, 50], label: "hidden state h", says: "Hidden state, also the layer's output. It is recomputed at each step." },
      INPUT, BEFORE,
    ],
  },
};

// Draws a cell. The explanations go to the element `says`; `pick(key)`, if given, is called when a part is clicked. Returns
// a function that marks the part of a quantity.
export function drawCell(svg, cell, says, pick = null) {
  const { lines, signs, parts } = CELL_PICTURES[cell];
  svg.setAttribute("viewBox", "0 0 660 264");
  svg.replaceChildren(...lines.map((d) => svgNode("path", { d })));
  for (const [x, y, sign] of signs) {
    svg.append(svgNode("circle", { cx: x, cy: y, r: 10 }), svgNode("text", { x, y: y + 5 }, sign));
  }
  says.textContent = `Point at a part (or Tab) to read what it does${pick ? "; click a gate or state to see its values." : "."}`;
  const drawn = parts.map(({ key, at: [x, y], label, gate, says: sentence }) => {
    const width = label.length * 8 + 20;
    const part = svgNode("g", { tabindex: 0, role: "button", "aria-label": `${label}: ${sentence}`, class: gate ? "gate" : "" });
    part.append(svgNode("rect", { x: x - width / 2, y: y - 16, width, height: 32, rx: gate ? 6 : 16 }), svgNode("text", { x, y: y + 5 }, label));
    const explain = () => { says.textContent = sentence; };
    part.addEventListener("pointerenter", explain);
    part.addEventListener("focus", explain);
    part.addEventListener("click", () => { explain(); pick?.(key); });
    part.addEventListener("keydown", (event) => {
      if (event.key !== "Enter" && event.key !== " ") return;
      event.preventDefault();
      pick?.(key);
    });
    svg.append(part);
    return [key, part];
  });
  return (quantity) => drawn.forEach(([key, part]) => part.classList.toggle("chosen", key === quantity));
}
