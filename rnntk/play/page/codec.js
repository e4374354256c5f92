// rnntk's preprocessors: text to symbols and back.

const INITIALS = [..."ㄱㄲㄴㄷㄸㄹㅁㅂㅃㅅㅆㅇㅈㅉㅊㅋㅌㅍㅎ"];
const VOWELS = [..."ㅏㅐㅑㅒㅓㅔㅕㅖㅗㅘㅙㅚㅛㅜㅝㅞㅟㅠㅡㅢㅣ"];
const FINALS = ["", ..."ㄱㄲㄳㄴㄵㄶㄷㄹㄺㄻㄼㄽㄾㄿㅀㅁㅂㅄㅅㅆㅇㅈㅊㅋㅌㅍㅎ"];
const [FIRST, LAST] = [0xac00, 0xd7a3]; // syllables
const MARKER = "ᴥ"; // after each syllable and each lone jamo

// A syllable's jamo (Unicode Standard, section 3.12); null for any other character.
export function jamo(character) {
  const code = character.codePointAt(0);
  if (code < FIRST || code > LAST) return null;
  const index = code - FIRST;
  const final = FINALS[index % 28];
  return [INITIALS[Math.floor(index / 588)], VOWELS[Math.floor(index / 28) % 21], ...(final ? [final] : [])];
}

function syllable([initial, vowel, final = ""]) {
  const index = (INITIALS.indexOf(initial) * 21 + VOWELS.indexOf(vowel)) * 28 + FINALS.indexOf(final);
  return String.fromCodePoint(FIRST + index);
}

function isLoneJamo(character) {
  return character >= "ㄱ" && character <= "ㅣ";
}

// A consonant before a vowel is the next initial; clusters such as ㄳ are always final.
const BOTH = FINALS.filter((letter) => letter && INITIALS.includes(letter)).join("");
const CLUSTERS = FINALS.filter((letter) => letter && !INITIALS.includes(letter)).join("");
const [INITIAL, VOWEL] = [INITIALS.join(""), VOWELS.join("")];
const UNIT = `[${INITIAL}][${VOWEL}](?:[${BOTH}](?![${VOWEL}])|[${CLUSTERS}])?`;
const UNIT_OR_MARKERS = new RegExp(`${UNIT}(?:${MARKER}(?!${MARKER}))?|${MARKER}+`, "g");
const UNIT_OR_MARKER = new RegExp(`${UNIT}${MARKER}?|${MARKER}`, "g");
const UNDECIDED = new RegExp(`[${INITIAL}](?:[${VOWEL}][${BOTH}${CLUSTERS}]?)?$`);

// Composes a stream of jamo; holds back the end while the next piece may change it.
class JamoDecoder {
  #held = "";
  #odd = false; // whether an odd number of markers came last

  constructor(lossless) {
    this.lossless = lossless;
  }

  feed(symbols) {
    const stream = this.#held + symbols;
    const undecided = UNDECIDED.exec(stream.slice(-3));
    const cut = undecided ? stream.length - undecided[0].length : stream.length;
    this.#held = stream.slice(cut);
    return this.#decode(stream.slice(0, cut));
  }

  flush() {
    const held = this.#held;
    this.#held = "";
    return this.#decode(held);
  }

  #decode(certain) {
    if (!certain) return "";
    if (!this.lossless) return certain.replace(UNIT_OR_MARKER, (found) => (found === MARKER ? "" : syllable(found.replace(MARKER, ""))));
    // An odd marker before the stream completes a pair with its first one, or means nothing.
    const stream = this.#odd ? MARKER + certain : certain;
    this.#odd = /ᴥ*$/.exec(stream)[0].length % 2 === 1;
    return stream.replace(UNIT_OR_MARKERS, (found) => (
      found[0] === MARKER ? MARKER.repeat(Math.floor(found.length / 2)) : syllable(found.replace(MARKER, ""))));
  }
}

// The 2017 notebooks decomposed a lone jamo as if it were a syllable, with a negative index.
function slidesJamo(character) {
  const index = character.codePointAt(0) - FIRST;
  const within = (value, size) => ((value % size) + size) % size;
  return "ㄱ" + VOWELS[within(Math.floor(index / 28), 21)] + FINALS[within(index, 28)];
}

class BytesDecoder {
  #utf8 = new TextDecoder("utf-8", { ignoreBOM: true });

  feed(symbols) {
    return this.#utf8.decode(Uint8Array.from(symbols, (symbol) => symbol.codePointAt(0)), { stream: true });
  }

  flush() {
    return this.#utf8.decode();
  }
}

const PLAIN = { encode: (character) => character, decoder: () => ({ feed: (symbols) => symbols, flush: () => "" }) };

// `encode`: the symbols of one character. `decoder`: for symbols in pieces.
export const CODECS = {
  plain: PLAIN,
  ascii: PLAIN,
  hangul: {
    encode(character) {
      const letters = jamo(character);
      if (letters) return letters.join("") + MARKER;
      return character === MARKER || isLoneJamo(character) ? character + MARKER : character;
    },
    decoder: () => new JamoDecoder(true),
  },
  "hangul-slides": {
    encode(character) {
      const letters = jamo(character);
      if (letters) return letters.join("") + MARKER;
      if (isLoneJamo(character)) return slidesJamo(character) + MARKER;
      return character <= "\u00ff" ? character : "";
    },
    decoder: () => new JamoDecoder(false),
  },
  bytes: {
    encode: (character) => String.fromCodePoint(...new TextEncoder().encode(character)),
    decoder: () => new BytesDecoder(),
  },
};

const CONJOINING = /[\u1100-\u1112][\u1161-\u1175][\u11a8-\u11c2]?|[가-힣][\u11a8-\u11c2]/g;

// Normalizes line ends and Hangul as for the training text.
function asTrained(text, run) {
  const lines = run.newline === "lf" ? text.replace(/\r\n?/g, "\n") : text;
  return run.normalize ? lines.replace(CONJOINING, (found) => found.normalize("NFC")) : lines;
}

// Distinct characters outside the vocabulary; [] for a preprocessor that only the server has.
export function unknownIn(text, run) {
  const codec = CODECS[run.preprocessor];
  if (!codec) return [];
  const known = new Set(run.vocabulary);
  return [...new Set(asTrained(text, run))].filter((character) => {
    const symbols = [...codec.encode(character)];
    return !symbols.length || (run.unknown === null && symbols.some((symbol) => !known.has(symbol)));
  });
}

// Encodes a text without its unknown characters; `counts`: symbols per character.
export function encode(text, run) {
  const skipped = unknownIn(text, run);
  const kept = [...asTrained(text, run)].filter((character) => !skipped.includes(character));
  const parts = kept.map((character) => CODECS[run.preprocessor].encode(character));
  const symbols = parts.join("");
  const place = new Map([...run.vocabulary].map((symbol, id) => [symbol, id]));
  const ids = Array.from(symbols, (symbol) => place.get(symbol) ?? place.get(run.unknown));
  return { text: kept.join(""), symbols, counts: parts.map((part) => [...part].length), skipped, ids };
}
