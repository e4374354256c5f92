// A training curve as SVG.

import { svgNode } from "./dom.js";

const [WIDTH, HEIGHT, LEFT, RIGHT, TOP, BOTTOM] = [900, 300, 46, 12, 10, 26];
const NARROW = 280;
const LABEL = 14; // pixels between labels, at least

// Round numbers from `low` to `high`, about `count` of them.
function ticks(low, high, count) {
  const raw = (high - low) / count || 1;
  const power = 10 ** Math.floor(Math.log10(raw));
  const step = [1, 2, 5, 10].find((k) => k * power >= raw) * power;
  const found = [];
  for (let k = Math.ceil(low / step); k * step <= high + step * 1e-9; k += 1) found.push(k * step);
  return { found, digits: Math.max(0, -Math.floor(Math.log10(step) + 1e-9)) };
}

// The point of a series nearest to a step; null if it is empty.
export function nearest(series, step) {
  return series.reduce((a, b) => (a && Math.abs(a[0] - step) <= Math.abs(b[0] - step) ? a : b), null);
}

// The range to show: all lines, and the curve without its highest 2 %.
function range(values, lines, most) {
  const sorted = [...values].sort((a, b) => a - b);
  const usual = sorted[Math.min(sorted.length - 1, Math.floor(sorted.length * 0.98))];
  const levels = lines.map(({ value }) => value);
  const high = Math.min(most, Math.max(usual, ...levels));
  const low = Math.min(sorted[0], ...levels);
  const room = (high - low || 1) * 0.06;
  return [Math.max(0, low - room), Math.min(most, high + room)];
}

// Draws two series of [step, value], with horizontal `lines` {title, value} and a `marked` step. `most`: the largest possible
// value. `look(train, val)` gets the points nearest to the pointer, or nulls.
export function draw(svg, train, val, { lines = [], marked = null, most = Infinity, look = () => {} } = {}) {
  const width = Math.max(NARROW, Math.min(WIDTH, svg.parentElement.clientWidth - 26));
  svg.setAttribute("viewBox", `0 0 ${width} ${HEIGHT}`);
  svg.replaceChildren();
  const all = [...train, ...val];
  if (!all.length) return;
  const last = Math.max(...all.map(([step]) => step));
  const [bottom, top] = range(all.map(([, value]) => value), lines, most);
  const x = (step) => LEFT + (step / last) * (width - LEFT - RIGHT);
  const y = (value) => TOP + ((top - value) / (top - bottom)) * (HEIGHT - TOP - BOTTOM);
  const rows = ticks(bottom, top, 5);
  for (const value of rows.found) {
    svg.append(
      svgNode("line", { class: "grid", x1: LEFT, x2: width - RIGHT, y1: y(value), y2: y(value) }),
      svgNode("text", { x: LEFT - 6, y: y(value) + 4, "text-anchor": "end" }, value.toFixed(rows.digits)),
    );
  }
  for (const value of ticks(0, last, width > 600 ? 8 : 4).found) {
    svg.append(svgNode("text", { x: x(value), y: HEIGHT - 6, "text-anchor": value === last ? "end" : "middle" }, value.toLocaleString("en")));
  }
  const points = (series) => series.map(([step, value]) => `${x(step).toFixed(1)},${y(value).toFixed(1)}`).join(" ");
  // Clips the curve at the top.
  const inner = svgNode("svg", { y: 0, width, height: HEIGHT - BOTTOM, viewBox: `0 0 ${width} ${HEIGHT - BOTTOM}` });
  inner.append(svgNode("polyline", { class: "loss", points: points(train) }), svgNode("polyline", { class: "val", points: points(val) }));
  for (const [step, value] of val) inner.append(svgNode("circle", { class: "dot", cx: x(step), cy: y(value), r: 3 }));
  // Labels above their lines; higher if another is too near.
  let free = Infinity;
  for (const { title, value } of [...lines].sort((a, b) => a.value - b.value)) {
    svg.append(svgNode("line", { class: "level", x1: LEFT, x2: width - RIGHT, y1: y(value), y2: y(value) }));
    free = Math.max(TOP + 9, Math.min(y(value) - 4, free - LABEL));
    svg.append(svgNode("text", { class: "label", x: width - RIGHT - 4, y: free, "text-anchor": "end" }, `${title}: ${value.toFixed(2)}`));
  }
  svg.append(inner); // above the labels, so that they hide no curve
  if (marked !== null) {
    const mark = svgNode("g", { class: "mark" });
    mark.append(svgNode("line", { x1: x(marked), x2: x(marked), y1: TOP, y2: HEIGHT - BOTTOM }));
    const point = nearest(train, marked);
    if (point) mark.append(svgNode("circle", { cx: x(marked), cy: y(point[1]), r: 5 }));
    svg.append(mark);
  }
  const cross = svgNode("line", { class: "cross", y1: TOP, y2: HEIGHT - BOTTOM, visibility: "hidden" });
  svg.append(cross);
  svg.onpointermove = (event) => {
    const box = svg.getBoundingClientRect();
    const step = ((((event.clientX - box.left) / box.width) * width - LEFT) / (width - LEFT - RIGHT)) * last;
    const point = nearest(train, step) ?? nearest(val, step);
    cross.setAttribute("x1", x(point[0]));
    cross.setAttribute("x2", x(point[0]));
    cross.setAttribute("visibility", "visible");
    look(point, nearest(val, step));
  };
  svg.onpointerleave = () => {
    cross.setAttribute("visibility", "hidden");
    look(null, null);
  };
}
