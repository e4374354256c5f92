// A picture of the recurrent cell, whose gates explain themselves where one points.

import { svgNode } from "./dom.js";

const BUS = "M20 200H"; // what is read and the output before, on their way to the gates
const INPUT = { key: "x", at: [68, 244], label: "input x", says: "What the layer reads at this step: the symbol, or the output of the layer below." };
const BEFORE = { key: "before", at: [68, 200], label: "h before", says: "The layer's own output one step earlier, which every gate sees too." };

// Of each cell: lines between the parts, signs where values meet, and the parts: `key` is the quantity that the page can
// show of it, if it can.
const CELL_PICTURES = {
  lstm: {
    lines: ["M20 50H580", `${BUS}415V157`, "M68 228V200", "M115 200V157M205 200V157M305 200V157", "M115 123V50", "M205 123V95H305V123",
      "M255 95V50", "M480 50V140", "M457 140H580"],
    signs: [[115, 50, "×"], [255, 50, "+"], [255, 95, "×"], [480, 140, "×"]],
    parts: [
      { key: "f", at: [115, 140], label: "forget f", gate: true, says: "The forget gate: how much of its memory each unit keeps. At 1 all of it, at 0 none." },
      { key: "i", at: [205, 140], label: "input i", gate: true, says: "The input gate: how much of the candidate each unit adds to its memory." },
      { key: "g", at: [305, 140], label: "candidate g", gate: true, says: "The candidate: what could be added to the memory, from −1 to 1, made of the input and the output before." },
      { key: "o", at: [415, 140], label: "output o", gate: true, says: "The output gate: how much of its memory each unit shows to the layer above and to the next step." },
      { key: "c", at: [360, 50], label: "memory c", says: "The memory. It passes from step to step only multiplied and added to, so what is learned about it does not vanish on the way back." },
      { key: "tanh", at: [480, 95], label: "tanh", says: "The memory is squeezed to lie between −1 and 1 before it is shown." },
      { key: "h", at: [546, 140], label: "output h", says: "The output: the part of the memory that the output gate lets through." },
      INPUT, BEFORE,
    ],
  },
  gru: {
    lines: ["M20 50H580", `${BUS}440V157`, "M68 228V200", "M150 200V157M280 200V157", "M150 123V50", "M150 95H440", "M440 123V50",
      "M312 140H408", "M360 200V140", "M20 200V50"],
    signs: [[150, 50, "×"], [440, 50, "+"], [440, 95, "×"], [360, 140, "×"]],
    parts: [
      { key: "z", at: [150, 140], label: "update z", gate: true, says: "The update gate: how much of its state each unit keeps. At 1 nothing changes; at 0 the candidate takes its place." },
      { key: "one", at: [290, 95], label: "1 − z", says: "What is not kept is replaced: the candidate enters by 1 − z, so the two shares always make 1." },
      { key: "r", at: [280, 140], label: "reset r", gate: true, says: "The reset gate: how much of the output before the candidate may use. At 0 it starts afresh from the input." },
      { key: "g", at: [440, 140], label: "candidate g", gate: true, says: "The candidate: the new state that is proposed, from −1 to 1." },
      { key: "h", at: [530, 50], label: "state h", says: "The state, which is the output too: a mixture of what was kept and the candidate." },
      INPUT, BEFORE,
    ],
  },
  rnn: {
    lines: [`${BUS}300V157`, "M68 228V200", "M300 123V50H580"],
    signs: [],
    parts: [
      { key: "tanh", at: [300, 140], label: "tanh", gate: true, says: "All there is: input and output before, each times its weights, added and squeezed between −1 and 1. There is no gate that could keep anything, so what was read fades with every step." },
      { key: "h", at: [530, 50], label: "state h", says: "The state, made anew at each step, which is the output too." },
      INPUT, BEFORE,
    ],
  },
};

// Draws a cell. `says` is the element that explains; `pick(key)`, if given, is called with the quantity of a part that is
// clicked. Returns a function that marks the part of a quantity.
export function drawCell(svg, cell, says, pick = () => {}) {
  const { lines, signs, parts } = CELL_PICTURES[cell];
  svg.setAttribute("viewBox", "0 0 600 264");
  svg.replaceChildren(...lines.map((d) => svgNode("path", { d })));
  for (const [x, y, sign] of signs) {
    svg.append(svgNode("circle", { cx: x, cy: y, r: 10 }), svgNode("text", { x, y: y + 5 }, sign));
  }
  says.textContent = "Point at a part of the cell, or move through its parts with the tab key, to read what it does.";
  const drawn = parts.map(({ key, at: [x, y], label, gate, says: sentence }) => {
    const width = label.length * 8 + 20;
    const part = svgNode("g", { tabindex: 0, role: "button", "aria-label": `${label}: ${sentence}`, class: gate ? "gate" : "" });
    part.append(svgNode("rect", { x: x - width / 2, y: y - 16, width, height: 32, rx: gate ? 6 : 16 }), svgNode("text", { x, y: y + 5 }, label));
    const explain = () => { says.textContent = sentence; };
    part.addEventListener("pointerenter", explain);
    part.addEventListener("focus", explain);
    part.addEventListener("click", () => { explain(); pick(key); });
    part.addEventListener("keydown", (event) => {
      if (event.key !== "Enter" && event.key !== " ") return;
      event.preventDefault();
      pick(key);
    });
    svg.append(part);
    return [key, part];
  });
  return (quantity) => drawn.forEach(([key, part]) => part.classList.toggle("chosen", key === quantity));
}
