// Backend without a server: ONNX Runtime's WebAssembly runs model.onnx, with the state carried.
import * as ort from "./ort.js";
import { draw, drawFirst, likeliest, logProbabilities, StopFinder, uniforms } from "./sampling.js";

const LIKELY = 5;
const SLICE = 33; // milliseconds of work before the browser may take input, and lay the text out

export async function open({ model, name }) {
  const place = new URL(model, import.meta.url);
  ort.env.wasm.numThreads = 1; // more need headers that not every static host can send
  ort.env.wasm.wasmPaths = { wasm: new URL("ort.wasm", import.meta.url).href };
  // The runtime does not give an ONNX file's metadata; the JSON file beside it has the same.
  const [session, metadata] = await Promise.all([
    fetched(place).then(async (answer) =>
      ort.InferenceSession.create(new Uint8Array(await answer.arrayBuffer())),
    ),
    fetched(place.href.replace(/\.onnx$/, ".json")).then((answer) => answer.json()),
  ]);
  if (metadata["charlm.format"] !== 1 || metadata["charlm.sampling"] !== 1)
    throw new Error(`${model} was written by a later charlm: export the page again.`);
  return new Local(session, metadata, name);
}

async function fetched(place) {
  const answer = await fetch(place);
  if (!answer.ok) throw new Error(`${place} can't be loaded: ${answer.status}.`);
  return answer;
}

class Local {
  constructor(session, metadata, name) {
    this.session = session;
    this.config = metadata["charlm.config"];
    this.vocabulary = metadata["charlm.vocabulary"];
    this.ids = new Map(this.vocabulary.map((character, id) => [character, id]));
    this.initial = Float32Array.from(metadata["charlm.initial"]);
    this.models = [name];
    const { layers, hidden } = this.config;
    this.about = `LSTM ${layers} × ${hidden}, ${this.vocabulary.length} characters, in this browser`;
    const zeros = new ort.Tensor("float32", new Float32Array(layers * hidden), [1, layers, hidden]);
    const logits = this.initial.map(Math.log);
    this.start = { h: zeros, c: zeros, logits, characters: 0, position: 0 };
  }

  /** Yields what each sample has drawn; see app.js. */
  async *generate(request, signal) {
    const stops = request.stop.map((stop) => this.#normalised(stop));
    if (stops.includes(""))
      throw new Error("The stop string is empty once it is normalised as the model's corpus was.");
    const never = [...stops.join("")].find((character) => !this.ids.has(character));
    if (never !== undefined)
      throw new Error(`The stop string can never come: the model does not know “${never}”.`);
    if (request.temperature && !(request.temperature > 1e-30))
      throw new Error("Temperature is 0, which takes the likeliest, or above 1e-30.");
    const prompt = this.#encoded(request.prompt);
    let state = request.state ?? this.start;
    const pause = pauses(signal);
    for (const id of prompt) {
      state = await this.#read(state, id);
      await pause();
    }
    const texts = Array.from({ length: request.samples }, (_, sample) =>
      this.#text({ ...request, ...ownSeed(request, state, sample) }, state, stops, sample),
    );
    let running = texts;
    while (running.length) {
      for (const text of running) await text.next();
      running = running.filter((text) => !text.finish);
      if (await pause(!running.length)) yield* texts.flatMap((text) => text.events());
    }
  }

  /** One text that is drawn character by character, and what of it was not yet shown. */
  #text(request, state, stops, sample) {
    const finder = new StopFinder(stops);
    const uniform = uniforms(request.seed, request.number);
    let [characters, drawn, over] = [[], 0, false];
    const text = {
      finish: null,
      next: async () => {
        const position = state.position;
        const id = state.characters
          ? draw(state.logits, request, uniform(position))
          : drawFirst(this.initial, request.temperature, uniform(position));
        characters.push(...finder.take(this.#judged(state.logits, id)));
        state = { ...(await this.#read(state, id)), position: position + 1 };
        if (finder.found) text.finish = "stop";
        else if (++drawn >= request.length) {
          text.finish = "length";
          characters.push(...finder.held);
        }
      },
      events: () => {
        if (over || (!characters.length && !text.finish)) return [];
        const event = { sample, characters, finish: text.finish };
        if (text.finish) event.state = { ...state, seed: request.seed, number: request.number };
        [characters, over] = [[], Boolean(text.finish)];
        return [event];
      },
    };
    return text;
  }

  /** Yields lists of characters of a text with what they cost. */
  async *score({ text }, signal) {
    let state = this.start;
    let characters = [];
    const pause = pauses(signal);
    for (const id of this.#encoded(text)) {
      characters.push(
        state.characters ? this.#judged(state.logits, id) : { text: this.vocabulary[id] },
      );
      state = await this.#read(state, id);
      if (await pause()) {
        yield characters;
        characters = [];
      }
    }
    yield characters;
  }

  async #read(state, id) {
    const token = new ort.Tensor("int64", BigInt64Array.of(BigInt(id)), [1]);
    const found = await this.session.run({ token, h: state.h, c: state.c });
    return {
      ...state,
      h: found.h_next,
      c: found.c_next,
      logits: found.logits.data,
      characters: state.characters + 1,
    };
  }

  #judged(logits, id) {
    const logProbability = logProbabilities(logits);
    const likely = [];
    const left = logProbability.slice();
    for (let rank = 0; rank < Math.min(LIKELY, left.length); rank++) {
      const best = likeliest(left);
      likely.push([this.vocabulary[best], Math.exp(logProbability[best])]);
      left[best] = -Infinity;
    }
    return { text: this.vocabulary[id], bits: -logProbability[id] / Math.LN2, likely };
  }

  /** A text as the model's corpus was. */
  #normalised(text) {
    const { newlines, case: letters, nfc } = this.config.normalisation;
    let normal = text.replace(/\r\n?/g, "\n");
    normal = normal.replaceAll("\n", { keep: "\n", space: " ", drop: "" }[newlines]);
    if (letters === "lower") normal = normal.toLowerCase();
    return nfc ? normal.normalize("NFC") : normal;
  }

  #encoded(text) {
    const { policy = "error", replacement } = this.config.rare ?? {};
    const known = (character) => {
      if (this.ids.has(character)) return [this.ids.get(character)];
      if (policy === "drop") return [];
      if (policy === "replace") return [this.ids.get(replacement)];
      throw new Error(`The model does not know the character “${character}”: leave it out.`);
    };
    return [...this.#normalised(text)].flatMap(known);
  }
}

/** Which random numbers a sample has: of the seed, or those that its state goes on with. */
function ownSeed(request, state, sample) {
  return request.seed === null
    ? { seed: state.seed, number: state.number }
    : { seed: request.seed, number: BigInt(sample) };
}

const { port1, port2 } = new MessageChannel(); // timers would wait 4 ms each

/** A function that lets the browser work once a slice is used up, and says whether it was. */
function pauses(signal) {
  let begun = performance.now();
  return async (now = false) => {
    if (!now && performance.now() - begun < SLICE) return false;
    await new Promise((later) => {
      port1.onmessage = later;
      port2.postMessage(null);
    });
    signal.throwIfAborted();
    begun = performance.now();
    return true;
  };
}
