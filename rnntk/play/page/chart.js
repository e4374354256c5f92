// A loss curve as SVG.

const NS = "http://www.w3.org/2000/svg";
const [WIDTH, HEIGHT, LEFT, RIGHT, TOP, BOTTOM] = [900, 300, 46, 12, 10, 26];
const NARROW = 280;

function node(tag, attributes = {}, text = "") {
  const made = document.createElementNS(NS, tag);
  for (const [name, value] of Object.entries(attributes)) made.setAttribute(name, value);
  made.textContent = text;
  return made;
}

// Round numbers from `low` to `high`, about `count` of them.
function ticks(low, high, count) {
  const raw = (high - low) / count || 1;
  const power = 10 ** Math.floor(Math.log10(raw));
  const step = [1, 2, 5, 10].find((k) => k * power >= raw) * power;
  const found = [];
  for (let k = Math.ceil(low / step); k * step <= high + step * 1e-9; k += 1) found.push(k * step);
  return { found, digits: Math.max(0, -Math.floor(Math.log10(step) + 1e-9)) };
}

// Draws both series of [step, nats]; `look` is told of the step pointed at, null when none is.
export function draw(svg, loss, val, look) {
  const width = Math.max(NARROW, Math.min(WIDTH, svg.parentElement.clientWidth - 26));
  svg.setAttribute("viewBox", `0 0 ${width} ${HEIGHT}`);
  svg.replaceChildren();
  const all = [...loss, ...val];
  if (!all.length) return;
  const last = Math.max(...all.map(([step]) => step));
  // The first steps start far above all that follows; they may leave the picture.
  const values = all.map(([, nats]) => nats).sort((a, b) => a - b);
  const high = values[Math.min(values.length - 1, Math.floor(values.length * 0.98))];
  const low = values[0];
  const room = (high - low || 1) * 0.06;
  const [bottom, top] = [Math.max(0, low - room), high + room];
  const x = (step) => LEFT + (step / last) * (width - LEFT - RIGHT);
  const y = (nats) => TOP + ((top - nats) / (top - bottom)) * (HEIGHT - TOP - BOTTOM);
  const rows = ticks(bottom, top, 5);
  for (const value of rows.found) {
    svg.append(
      node("line", { class: "grid", x1: LEFT, x2: width - RIGHT, y1: y(value), y2: y(value) }),
      node("text", { x: LEFT - 6, y: y(value) + 4, "text-anchor": "end" }, value.toFixed(rows.digits)),
    );
  }
  for (const value of ticks(0, last, width > 600 ? 8 : 4).found) {
    svg.append(node("text", { x: x(value), y: HEIGHT - 6, "text-anchor": value === last ? "end" : "middle" }, value.toLocaleString("en")));
  }
  const points = (series) => series.map(([step, nats]) => `${x(step).toFixed(1)},${y(nats).toFixed(1)}`).join(" ");
  // An inner picture with the same coordinates, which cuts off what leaves it at the top.
  const inner = node("svg", { y: 0, width, height: HEIGHT - BOTTOM, viewBox: `0 0 ${width} ${HEIGHT - BOTTOM}` });
  inner.append(node("polyline", { class: "loss", points: points(loss) }), node("polyline", { class: "val", points: points(val) }));
  for (const [step, nats] of val) inner.append(node("circle", { class: "dot", cx: x(step), cy: y(nats), r: 3 }));
  svg.append(inner);
  const cross = node("line", { class: "cross", y1: TOP, y2: HEIGHT - BOTTOM, visibility: "hidden" });
  svg.append(cross);
  svg.onpointermove = (event) => {
    const box = svg.getBoundingClientRect();
    const step = ((((event.clientX - box.left) / box.width) * width - LEFT) / (width - LEFT - RIGHT)) * last;
    const near = (series) => series.reduce((a, b) => (a && Math.abs(a[0] - step) <= Math.abs(b[0] - step) ? a : b), null);
    const point = near(loss) ?? near(val);
    cross.setAttribute("x1", x(point[0]));
    cross.setAttribute("x2", x(point[0]));
    cross.setAttribute("visibility", "visible");
    look(point, near(val));
  };
  svg.onpointerleave = () => {
    cross.setAttribute("visibility", "hidden");
    look(null, null);
  };
}
