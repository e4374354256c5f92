// Visible features of a text and the units that follow them, like rnntk/play/visible.py.
//
// A unit's score, from -1 to 1, is 2 AUC - 1 on binary features, and Spearman's rank correlation on others.

const LEAST = 5; // symbols with and without a binary feature, at least
const BEST = 5; // units listed per feature
const TAB = 8;
// From the opening quote to before the closing one.
const QUOTED = /(?<inside>"(?:\\.|[^"\\\n])*|(?<![\p{L}\p{N}_])'(?:\\.|[^'\\\n])*|“[^”\n]*|‘[^’\n]*|「[^」\n]*|『[^』\n]*|«[^»\n]*).?/dgu;
// C comments, and those that begin with `# `.
const COMMENT = /(?<inside>\/\*(?:(?!\*\/).)*\*?|(?<!:)\/\/[^\n]*|(?<!\S)#(?!\S)[^\n]*)/dgsu;

// The features that vary in a text: {name, title, binary, values}, a value per symbol.
export function features({ text, symbols, counts }) {
  const all = [...text];
  const is = (pattern) => all.map((c) => Number(pattern.test(c)));
  const byCharacter = [
    ["column", "position in the line", positions(all, (c) => c !== "\n")],
    ["indent", "indentation", indents(all)],
    ["quotes", "inside quotes", within(text, QUOTED)],
    ["comment", "inside a comment", within(text, COMMENT)],
    ["parentheses", "bracket depth", depth(all, "([", ")]")],
    ["braces", "brace depth", depth(all, "{", "}")],
    ["word", "position in the word", positions(all, (c) => /[\p{L}\p{N}_]/u.test(c))],
    ["space", "white space", is(/\s/u)],
    ["capital", "capital letters", is(/\p{Uppercase}/u)],
    ["digit", "digits", is(/\p{Nd}/u)],
    ["punctuation", "punctuation", is(/[\p{P}\p{S}]/u)],
  ];
  const found = byCharacter.map(([name, title, values]) => [name, title, values.flatMap((value, k) => Array(counts[k]).fill(value))]);
  return [...found, ...syllables(all, counts, [...symbols].length)]
    .map(([name, title, values]) => ({ name, title, values, binary: values.every((value) => value === 0 || value === 1) }))
    .filter(varies);
}

function varies({ values, binary }) {
  if (!binary) return new Set(values).size > 2;
  const yes = values.reduce((a, b) => a + b, 0);
  return yes >= LEAST && yes <= values.length - LEAST;
}

// Ranks from 1; ties get their mean rank.
export function ranks(values) {
  const ordered = Float64Array.from(values).sort();
  const places = new Map();
  for (let from = 0, to; from < ordered.length; from = to) {
    to = from + 1;
    while (to < ordered.length && ordered[to] === ordered[from]) to += 1;
    places.set(ordered[from], (from + to + 1) / 2);
  }
  return Float64Array.from(values, (value) => places.get(value));
}

export function score(byRank, { values, binary }) {
  return binary ? separation(byRank, values) : correlation(byRank, ranks(values));
}

function separation(byRank, values) {
  let [yes, sum] = [0, 0];
  for (let k = 0; k < values.length; k += 1) {
    if (values[k]) {
      yes += 1;
      sum += byRank[k];
    }
  }
  const no = values.length - yes;
  return yes && no ? (2 * (sum - (yes * (yes + 1)) / 2)) / (yes * no) - 1 : 0;
}

function correlation(a, b) {
  const middle = (a.length + 1) / 2; // mean rank
  let [product, squareA, squareB] = [0, 0, 0];
  for (let k = 0; k < a.length; k += 1) {
    product += (a[k] - middle) * (b[k] - middle);
    squareA += (a[k] - middle) ** 2;
    squareB += (b[k] - middle) ** 2;
  }
  const scale = Math.sqrt(squareA * squareB);
  return scale > 0 ? product / scale : 0;
}

const rounded = (value) => Math.round(value * 1000) / 1000;

// The units that best follow each feature, features furthest above chance first. `units`: values by symbol, H units per layer.
// `chance`: the best score on the feature rotated by 1/4, 1/2 and 3/4 of the text, averaged.
export function ranked(units, found, H) {
  const byRank = units.map(ranks);
  const rows = found.map((feature) => {
    const scores = byRank.map((unit) => score(unit, feature));
    const order = [...scores.keys()].sort((a, b) => Math.abs(scores[b]) - Math.abs(scores[a])).slice(0, BEST);
    const moved = [1, 2, 3].map((k) => {
      const at = feature.values.length - Math.floor((feature.values.length * k) / 4);
      const values = [...feature.values.slice(at), ...feature.values.slice(0, at)];
      const prepared = feature.binary ? values : ranks(values);
      const against = feature.binary ? separation : correlation;
      return Math.max(...byRank.map((unit) => Math.abs(against(unit, prepared))));
    });
    const best = order.map((k) => ({ layer: Math.floor(k / H), unit: k % H, score: rounded(scores[k]) }));
    const { name, title, binary } = feature;
    return { name, title, binary, chance: rounded(moved.reduce((a, b) => a + b) / 3), best };
  });
  return rows.sort((a, b) => (a.chance - Math.abs(a.best[0].score)) - (b.chance - Math.abs(b.best[0].score)));
}

// A unit's score on each feature, the strongest first.
export function follows(values, found) {
  const byRank = ranks(values);
  return found.map((feature) => ({ title: feature.title, score: rounded(score(byRank, feature)) }))
    .sort((a, b) => Math.abs(b.score) - Math.abs(a.score));
}

// Columns of leading white space in the line so far.
function indents(all) {
  let [width, leading] = [0, true];
  return all.map((c) => {
    if (c === "\n") [width, leading] = [0, true];
    else if (leading && (c === " " || c === "\t")) width += c === "\t" ? TAB - (width % TAB) : 1;
    else leading = false;
    return width;
  });
}

// Where the pattern's group `inside` matches, per character.
function within(text, pattern) {
  const found = new Uint8Array(text.length);
  for (const match of text.matchAll(pattern)) found.fill(1, ...match.indices.groups.inside);
  let at = 0;
  return [...text].map((c) => {
    const value = found[at];
    at += c.length; // 2 for a character of two code units
    return value;
  });
}

function depth(all, opening, closing) {
  let level = 0;
  return all.map((c) => (level = Math.max(0, level + Number(opening.includes(c)) - Number(closing.includes(c)))));
}

// Position from 1 of each character in its stretch of `inside` characters; 0 outside.
function positions(all, inside) {
  let place = 0;
  return all.map((c) => (place = inside(c) ? place + 1 : 0));
}

// The parts of Hangul syllables, if the preprocessor splits them into jamo.
function syllables(all, counts, length) {
  const parts = [
    ["initial", "first consonant of a syllable"], ["vowel", "vowel of a syllable"],
    ["final", "final consonant of a syllable"], ["boundary", "end of a syllable"],
  ].map((names) => [...names, Array(length).fill(0)]);
  const [initial, vowel, final, boundary] = parts.map(([, , values]) => values);
  let start = 0;
  all.forEach((c, k) => {
    const end = start + counts[k];
    if (c >= "가" && c <= "힣" && counts[k] > 2) {
      initial[start] = vowel[start + 1] = boundary[end - 1] = 1;
      final.fill(1, start + 2, end - 1);
    }
    start = end;
  });
  return parts;
}
