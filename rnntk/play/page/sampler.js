// Sampling like rnntk's strategies: banned symbol, temperature, top-k, top-p, then the inverse of the cumulative distribution
// at a uniform draw.

// log(sum(exp(logits))).
export function logTotal(logits) {
  const most = logits.reduce((a, b) => Math.max(a, b));
  return most + Math.log(logits.reduce((sum, logit) => sum + Math.exp(logit - most), 0));
}

// `banned`: a symbol that is never chosen, or -1.
export class Sampler {
  constructor(size, { temperature, top_k: topK, top_p: topP }, banned, uniform) {
    Object.assign(this, { temperature, topK, topP, banned, uniform });
    this.scores = new Float64Array(size);
  }

  choose(logits) {
    const { scores } = this;
    scores.set(logits);
    if (this.banned >= 0) scores[this.banned] = -Infinity;
    const most = scores.reduce((a, b) => Math.max(a, b));
    // One draw per symbol, even if unused, as in rnntk.
    const at = this.uniform();
    if (this.temperature < 1e-200) return scores.indexOf(most);
    for (let k = 0; k < scores.length; k += 1) scores[k] = (scores[k] - most) / this.temperature;
    if (this.topK && this.topK < scores.length) this.#keepLikeliest();
    if (this.topP && this.topP < 1) this.#keepNucleus();
    let total = 0;
    for (let k = 0; k < scores.length; k += 1) scores[k] = total += Math.exp(scores[k]);
    const reach = at * total;
    const found = scores.findIndex((sum) => sum > reach);
    return found >= 0 ? found : scores.indexOf(total); // rounding reached the total
  }

  #keepLikeliest() {
    const least = this.scores.slice().sort()[this.scores.length - this.topK];
    this.scores.forEach((score, k) => { if (score < least) this.scores[k] = -Infinity; });
  }

  #keepNucleus() {
    const order = Array.from(this.scores.keys()).sort((a, b) => this.scores[b] - this.scores[a]);
    const total = order.reduce((sum, k) => sum + Math.exp(this.scores[k]), 0);
    let before = 0;
    for (const k of order) {
      const likely = Math.exp(this.scores[k]);
      if (before >= this.topP * total) this.scores[k] = -Infinity;
      before += likely;
    }
  }
}
