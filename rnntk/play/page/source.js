// Where the views get what they show: from the server, or, in a report, from the page itself.

async function ask(path, body) {
  const answer = await fetch("api/" + path, body === undefined ? {} : {
    method: "POST", headers: { "content-type": "application/json" }, body: JSON.stringify(body),
  });
  const found = await answer.json();
  if (!answer.ok) throw new Error(found.error);
  return found;
}

export class Live {
  constructor() { this.live = true; this.step = null; this.evaluation = null; }
  run() { return ask("run"); }
  read(text) { return ask("read", { text, step: this.step }); }
  units(text, quantity) { return ask("units", { text, step: this.step, quantity }); }
  unit(text, quantity, layer, unit) { return ask("unit", { text, step: this.step, quantity, layer, unit }); }
  training() { return ask("training"); }
  sample(step) { return ask("sample?step=" + encodeURIComponent(step)); }

  // Calls `take` with each JSON line as it comes, and waits for it: that is how a slow page slows the server.
  async write(asked, signal, take) {
    const answer = await fetch("api/write", {
      method: "POST", headers: { "content-type": "application/json" },
      body: JSON.stringify({ ...asked, step: this.step }), signal,
    });
    if (!answer.ok) throw new Error((await answer.json()).error);
    const reader = answer.body.pipeThrough(new TextDecoderStream()).getReader();
    let rest = "";
    for (;;) {
      const { value, done } = await reader.read();
      if (done) return;
      const lines = (rest + value).split("\n");
      rest = lines.pop();
      for (const line of lines) await take(JSON.parse(line));
    }
  }
}

export class Report {
  constructor(data) { this.live = false; this.data = data; this.evaluation = data.evaluation; }
  async run() { return this.data.run; }
  async read() { return this.data.read; }
  async units() { return this.data.units; }
  async unit(_text, _quantity, layer, unit) { return this.data.unit[layer + "/" + unit]; }
  async training() { return this.data.training; }
  async sample(step) { return this.data.samples[step]; }
}
