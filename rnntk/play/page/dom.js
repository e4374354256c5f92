// Small helpers. Text enters the page only as text: nothing here or elsewhere parses HTML.

export function byId(id) {
  return document.getElementById(id);
}

export function el(tag, properties = {}, ...children) {
  const made = document.createElement(tag);
  Object.assign(made, properties);
  made.append(...children);
  return made;
}

// A bar of `part` (0 to 1) of its width.
export function bar(part, against = false) {
  const inner = el("i");
  inner.style.setProperty("--part", Math.max(0, Math.min(1, part)).toFixed(3));
  return el("span", { className: against ? "bar against" : "bar" }, inner);
}

// How a symbol is called where it stands alone.
const NAMES = { " ": "space", "\n": "line end", "\t": "tab", "\r": "return", "ᴥ": "end ᴥ" };

export function named(symbol) {
  if (symbol in NAMES) return NAMES[symbol];
  const code = symbol.codePointAt(0);
  return code < 33 || (code > 126 && code < 161) ? "U+" + code.toString(16).toUpperCase().padStart(4, "0") : symbol;
}

export function whole(number) {
  return number.toLocaleString("en");
}

// A sentence for screen readers; only the last of several that follow each other is said.
let saying = 0;

export function say(sentence) {
  clearTimeout(saying);
  saying = setTimeout(() => { byId("said").textContent = sentence; }, 150);
}

export function problem(message) {
  byId("problem").textContent = message;
  byId("problem").hidden = !message;
}

// Runs what may fail on the way; the message is shown, and undefined returned.
export async function attempt(work) {
  try {
    problem("");
    return await work();
  } catch (error) {
    if (error.name !== "AbortError") {
      problem(error instanceof TypeError ? "The server does not answer. Is rnntk play still running?" : error.message);
    }
    return undefined;
  }
}

export function sleep(milliseconds) {
  return new Promise((done) => { setTimeout(done, milliseconds); });
}

// Ctrl+Enter (or Cmd+Enter) in a form's text sends it, as Enter alone begins a new line there.
export function submitByCtrlEnter(form) {
  form.addEventListener("keydown", (event) => {
    if (event.key !== "Enter" || !(event.ctrlKey || event.metaKey)) return;
    event.preventDefault();
    form.requestSubmit();
  });
}

// Copies a text; false where the browser refuses.
export async function copy(text) {
  if (navigator.clipboard) return navigator.clipboard.writeText(text).then(() => true, () => false);
  // Without TLS, from another machine, there is only the older way.
  const box = el("textarea", { value: text });
  document.body.append(box);
  box.select();
  const copied = document.execCommand("copy");
  box.remove();
  return copied;
}

// Saves a text as a file, in the folder for downloads.
export function save(text, name) {
  const href = URL.createObjectURL(new Blob([text], { type: "text/plain;charset=utf-8" }));
  el("a", { href, download: name }).click();
  setTimeout(() => URL.revokeObjectURL(href), 10_000);
}

export function svgNode(tag, attributes = {}, text = "") {
  const made = document.createElementNS("http://www.w3.org/2000/svg", tag);
  for (const [name, value] of Object.entries(attributes)) made.setAttribute(name, value);
  made.textContent = text;
  return made;
}

// The bytes of a base64 text.
export function bytesOf(base64) {
  return Uint8Array.from(atob(base64), (letter) => letter.charCodeAt(0));
}
