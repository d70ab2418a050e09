// Generate text with a charlm model: onnxruntime-node alone.
// node generate.mjs MODEL PROMPT TEMPERATURE SEED LENGTH
import { readFile } from "node:fs/promises";
import { InferenceSession, Tensor } from "onnxruntime-node";

const [model, text, temperature, seed, length] = process.argv.slice(2);
if (length === undefined) throw new Error("give MODEL PROMPT TEMPERATURE SEED LENGTH");

// The runtime does not give an ONNX file's metadata; the JSON file beside it has the same.
const metadata = JSON.parse(await readFile(model.replace(/\.onnx$/, ".json"), "utf8"));
if (metadata["charlm.format"] !== 1 || metadata["charlm.sampling"] !== 1)
  throw new Error(`${model}: written by a later charlm`);
const vocabulary = metadata["charlm.vocabulary"];
const { hidden, layers, normalisation } = metadata["charlm.config"];

let prompt = text.replaceAll("\n", { keep: "\n", space: " ", drop: "" }[normalisation.newlines]);
if (normalisation.case === "lower") prompt = prompt.toLowerCase();
if (normalisation.nfc) prompt = prompt.normalize("NFC");
const unknown = [...prompt].find((character) => !vocabulary.includes(character));
if (unknown) throw new Error(`${model}: its vocabulary lacks '${unknown}'`);

const session = await InferenceSession.create(model, { intraOpNumThreads: 1 });
const zeros = new Tensor("float32", new Float32Array(layers * hidden), [1, layers, hidden]);
let state = { h: zeros, c: zeros };
async function read(character) {
  const token = new Tensor("int64", [vocabulary.indexOf(character)], [1]);
  const { logits, h_next: h, c_next: c } = await session.run({ token, ...state });
  state = { h, c };
  return logits.data;
}

// The number in (0, 1) of a position: Philox4x64-10 (Salmon et al., 2011), key (seed, 0).
function uniform(seed, position) {
  const low = (number) => BigInt.asUintN(64, number);
  let [a, b, c, d, key, other] = [1n + BigInt(position >> 2), 0n, 0n, 0n, BigInt(seed), 0n];
  for (let round = 0; round < 10; round++) {
    const [x, y] = [a * 0xd2e7470ee14c6c93n, c * 0xca5a826395121157n];
    [a, b, c, d] = [(y >> 64n) ^ b ^ key, low(y), (x >> 64n) ^ d ^ other, low(x)];
    [key, other] = [low(key + 0x9e3779b97f4a7c15n), low(other + 0xbb67ae8584caa73bn)];
  }
  return (Number([a, b, c, d][position % 4] >> 41n) + 0.5) * 2 ** -23;
}

const inverse = Math.fround(1 / temperature);
let scores = Float32Array.from(metadata["charlm.initial"]); // where the prompt is empty
for (const character of prompt) scores = await read(character);
process.stdout.write(prompt);
for (let position = 0; position < length; position++) {
  let token = scores.indexOf(Math.max(...scores));
  if (temperature > 0) {
    if (position > 0 || prompt)
      scores = scores.map((logit) => Math.exp(Math.fround(logit - scores[token]) * inverse));
    let total = 0; // the first token whose sum, in float32, reaches a random share of the total
    const sums = scores.map((weight) => (total = Math.fround(total + weight)));
    const share = Math.fround(uniform(seed, position) * total);
    token = sums.findIndex((sum) => sum >= share);
  }
  process.stdout.write(vocabulary[token]);
  scores = await read(vocabulary[token]);
}
process.stdout.write("\n");
