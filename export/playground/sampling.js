// Sampling, version 1, as charlm's model files define it: from logits to a character. The
// arithmetic is float32 in the order of the vocabulary: a seed has the text of `charlm gen`.

const MASK = (1n << 64n) - 1n;

/** The four 64-bit words of a counter: Philox4x64-10 (Salmon et al., 2011). */
export function philox(seed, sample, counter) {
  let [a, b, c, d, key, other] = [counter, 0n, 0n, 0n, seed, sample];
  for (let round = 0; round < 10; round++) {
    const [x, y] = [a * 0xd2e7470ee14c6c93n, c * 0xca5a826395121157n];
    [a, b, c, d] = [(y >> 64n) ^ b ^ key, y & MASK, (x >> 64n) ^ d ^ other, x & MASK];
    [key, other] = [(key + 0x9e3779b97f4a7c15n) & MASK, (other + 0xbb67ae8584caa73bn) & MASK];
  }
  return [a, b, c, d];
}

/** A text's numbers in (0, 1), by position; `seed` and `sample` are BigInts below 2^64. */
export function uniforms(seed, sample) {
  let block = -1;
  let words;
  return (position) => {
    if (block !== Math.floor(position / 4)) {
      block = Math.floor(position / 4); // NumPy's counter begins at 1
      words = philox(seed, sample, BigInt(block + 1));
    }
    return (Number(words[position % 4] >> 41n) + 0.5) * 2 ** -23;
  };
}

/** The index of the likeliest; the lowest of equals. */
export function likeliest(weights) {
  let best = 0;
  for (let id = 1; id < weights.length; id++) if (weights[id] > weights[best]) best = id;
  return best;
}

/** The first index whose cumulative weight reaches a share of the total. */
export function choose(weights, uniform) {
  const sums = running(weights);
  const share = Math.fround(uniform * sums.at(-1));
  return Math.max(
    0,
    sums.findIndex((sum) => sum >= share),
  ); // -1: NaN, of a damaged model
}

/**
 * The id of the next character.
 * @param {Float32Array} logits
 * @param {{temperature: number, topK: number, topP: number, minP: number}} settings topK 0, topP 1
 *   and minP 0 are off
 * @param {number} uniform in (0, 1)
 */
export function draw(logits, settings, uniform) {
  if (settings.temperature === 0) return likeliest(logits);
  const inverse = Math.fround(1 / settings.temperature);
  const most = logits[likeliest(logits)];
  const weights = logits.map((logit) => Math.exp(Math.fround(Math.fround(logit - most) * inverse)));
  filter(weights, settings);
  return choose(weights, uniform);
}

/** The id of the first character of a text with no prompt, from the training text's frequencies. */
export function drawFirst(initial, temperature, uniform) {
  return temperature === 0 ? likeliest(initial) : choose(initial, uniform);
}

/** Set to 0 the weights (Float32Array) that the filters remove. */
export function filter(weights, { topK, topP, minP }) {
  const [reached, least] = [Math.fround(topP), Math.fround(minP)];
  if (!topK && reached >= 1 && !least) return;
  const order = Array.from(weights.keys()).sort((a, b) => weights[b] - weights[a] || a - b);
  const ranked = Float32Array.from(order, (id) => weights[id]);
  let kept = topK ? Math.min(topK, ranked.length) : ranked.length;
  if (reached < 1) {
    const sums = running(ranked.subarray(0, kept));
    const share = Math.fround(reached * sums.at(-1));
    kept = 1 + sums.subarray(0, -1).filter((sum) => sum < share).length;
  }
  const lowest = Math.fround(least * ranked[0]);
  kept = Math.min(kept, ranked.filter((weight) => weight >= lowest).length);
  for (const id of order.slice(kept)) weights[id] = 0;
}

function running(weights) {
  let sum = 0;
  return weights.map((weight) => (sum = Math.fround(sum + weight)));
}

/** Natural logarithms of the probabilities that logits give, Float64Array. */
export function logProbabilities(logits) {
  const most = logits[likeliest(logits)];
  const shifted = Float64Array.from(logits, (logit) => logit - most);
  const total = Math.log(shifted.reduce((sum, value) => sum + Math.exp(value), 0));
  return shifted.map((value) => value - total);
}

/**
 * Where a text ends that arrives character by character: before the stop string that is complete
 * first, the longest of several. What may begin one is held until it is certain.
 */
export class StopFinder {
  constructor(stops) {
    this.stops = stops.map((stop) => [...stop]);
    this.held = []; // characters, as records with a `text`
    this.found = false;
  }

  /** The records that are certain by this one. */
  take(record) {
    this.held.push(record);
    const ends = (stop, length) =>
      length <= this.held.length &&
      this.held.slice(-length).every((each, n) => each.text === stop[n]);
    const complete = this.stops.filter((stop) => ends(stop, stop.length));
    this.found = complete.length > 0;
    const begun = this.stops.map((stop) => {
      for (let length = stop.length - 1; length > 0; length--)
        if (ends(stop, length)) return length;
      return 0;
    });
    const kept = this.found
      ? Math.max(...complete.map((stop) => stop.length))
      : Math.max(0, ...begun);
    const certain = this.held.splice(0, this.held.length - kept);
    if (this.found) this.held = [];
    return certain;
  }
}
