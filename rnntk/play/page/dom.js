// Helpers. No module parses HTML: text enters the page only as text.

export function byId(id) {
  return document.getElementById(id);
}

export function el(tag, properties = {}, ...children) {
  const made = document.createElement(tag);
  Object.assign(made, properties);
  made.append(...children);
  return made;
}

// A bar filled to `part`, 0 to 1.
export function bar(part, against = false) {
  const inner = el("i");
  inner.style.setProperty("--part", Math.max(0, Math.min(1, part)).toFixed(3));
  return el("span", { className: against ? "bar against" : "bar" }, inner);
}

// Names of symbols that cannot be seen.
const NAMES = { " ": "space", "\n": "newline", "\t": "tab", "\r": "carriage return", "ᴥ": "syllable end ᴥ" };

export function named(symbol) {
  if (symbol in NAMES) return NAMES[symbol];
  const code = symbol.codePointAt(0);
  return code < 33 || (code > 126 && code < 161) ? "U+" + code.toString(16).toUpperCase().padStart(4, "0") : symbol;
}

export function whole(number) {
  return number.toLocaleString("en");
}

// Announces a sentence to screen readers; of several in quick succession, only the last.
let saying = 0;

export function say(sentence) {
  clearTimeout(saying);
  saying = setTimeout(() => { byId("said").textContent = sentence; }, 150);
}

export function problem(message) {
  byId("problem").textContent = message;
  byId("problem").hidden = !message;
}

// Runs `work`; on failure shows the message and returns undefined.
export async function attempt(work) {
  try {
    problem("");
    return await work();
  } catch (error) {
    if (error.name !== "AbortError") {
      problem(error instanceof TypeError ? "The server does not respond. Is rnntk play still running?" : error.message);
    }
    return undefined;
  }
}

export function sleep(milliseconds) {
  return new Promise((done) => { setTimeout(done, milliseconds); });
}

// Ctrl+Enter or Cmd+Enter submits a form, because Enter begins a new line in its text.
export function submitByCtrlEnter(form) {
  form.addEventListener("keydown", (event) => {
    if (event.key !== "Enter" || !(event.ctrlKey || event.metaKey)) return;
    event.preventDefault();
    form.requestSubmit();
  });
}

// False if the browser refuses.
export async function copy(text) {
  if (navigator.clipboard) return navigator.clipboard.writeText(text).then(() => true, () => false);
  // Without TLS, from another machine, `navigator.clipboard` is missing.
  const box = el("textarea", { value: text });
  document.body.append(box);
  box.select();
  const copied = document.execCommand("copy");
  box.remove();
  return copied;
}

// Downloads a text as a file.
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

export function bytesOf(base64) {
  return Uint8Array.from(atob(base64), (letter) => letter.charCodeAt(0));
}
