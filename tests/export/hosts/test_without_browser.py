"""The playground's own arithmetic, run by Node: sampling version 1, stops, a model's texts."""

import json
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from charlm.export.contract import PLAYGROUND
from charlm.infer import Generator
from charlm.infer.model.shipped import shipped_model
from charlm.infer.sampling.draw import Sampler
from charlm.infer.sampling.filters import Filters
from charlm.infer.sampling.philox import UniformStream
from charlm.infer.sampling.stops import StopFinder

ROOT = Path(__file__).parents[3]
Run = Callable[[str, Any], Any]


@pytest.fixture(scope="module")
def node(tmp_path_factory: pytest.TempPathFactory) -> Run:
    """Runs a script beside the playground's modules: its input, and what it answers, are JSON."""
    if not shutil.which("node"):
        pytest.skip("no Node here")
    folder = tmp_path_factory.mktemp("node")
    for name in ("sampling.js", "local.js", "server.js"):
        shutil.copy(PLAYGROUND / name, folder)
    (folder / "package.json").write_text('{"type": "module"}')
    runtime = ROOT / "examples/node/node_modules/onnxruntime-node/dist/index.js"
    (folder / "ort.js").write_text(
        f"import ort from {json.dumps(str(runtime))};\n"
        "export const { InferenceSession, Tensor, env } = ort;\n"
    )
    for suffix in (".onnx", ".json"):
        shutil.copy(shipped_model().with_suffix(suffix), folder / f"model{suffix}")

    def run(script: str, given: Any) -> Any:
        (folder / "script.js").write_text(
            'import { readFileSync } from "node:fs";\n'
            f'const given = JSON.parse(readFileSync(0, "utf8"));\n{script}\n'
            "process.stdout.write(JSON.stringify(answer), () => process.exit());\n"
        )
        done = subprocess.run(
            ["node", folder / "script.js"], input=json.dumps(given), capture_output=True,
            encoding="utf-8", check=False, timeout=100,
        )  # fmt: skip
        assert done.returncode == 0, done.stderr
        return json.loads(done.stdout)

    return run


def test_sampling_is_that_of_python(node: Run) -> None:
    """Numbers by position, draws by temperature and filter, and where stop strings end a text."""
    random = np.random.RandomState(3)
    keys = [(0, 0), (1, 5), (2**64 - 1, 2**64 - 1), (123456789, 3)]
    draws: list[tuple[Any, ...]] = []
    for number in range(400):
        logits = (random.standard_normal(62) * 4).astype(np.float32)
        if number % 4 == 0:
            logits = np.round(logits)  # equals among them
        temperature = float(random.choice([0, 0.05, 0.7, 1, 1.7]))
        top_k, top_p = int(random.choice([0, 1, 7, 99])), float(random.choice([0.01, 0.6, 0.95, 1]))
        min_p = float(random.choice([0, 0.02, 0.3, 1]))
        uniform = UniformStream(number, 0).take(1)[0]
        draws.append((logits, temperature, Filters(top_k, top_p, min_p), uniform))
    texts = ["".join(random.choice(list("ab\n"), 40)) for _ in range(50)]
    stops = [["aab"], ["ba", "abba"], ["\n\n"], ["a\nb", "\nb"], ["abababab"]]
    given = {
        "keys": [list(map(str, key)) for key in keys],
        "draws": [
            {
                "logits": logits.tolist(), "uniform": float(uniform), "temperature": temperature,
                "topK": filters.top_k, "topP": filters.top_p, "minP": filters.min_p,
            }
            for logits, temperature, filters, uniform in draws
        ],
        "texts": texts,
        "stops": stops,
    }  # fmt: skip
    script = """
    import { draw, filter, StopFinder, uniforms } from "./sampling.js";
    const all = Float32Array.of(1, 1e-9);
    filter(all, { topK: 0, topP: 1 - 1e-9, minP: 0 }); // a float32 of 1: it is off
    const numbers = given.keys.map(([seed, sample]) => {
      const uniform = uniforms(BigInt(seed), BigInt(sample));
      return [...Array(12).keys(), 4000, 3].map(uniform);
    });
    const drawn = given.draws.map((one) => draw(Float32Array.from(one.logits), one, one.uniform));
    const until = (stops, text) => {
      const finder = new StopFinder(stops);
      let shown = "";
      for (const character of text) {
        shown += finder.take({ text: character }).map((each) => each.text).join("");
        if (finder.found) return [shown, true];
      }
      return [shown, false];
    };
    const ended = given.stops.flatMap((stops) => given.texts.map((text) => until(stops, text)));
    const answer = { numbers, drawn, ended, all: [...all] };
    """
    answer = node(script, given)
    for found, key in zip(answer["numbers"], keys, strict=True):
        first, far = UniformStream(*key).take(12), UniformStream(*key, start=4000).take(1)
        assert found == [*first.tolist(), *far.tolist(), float(first[3])]
    wanted = [
        Sampler(logits[None], temperature, filters).draw_one(uniform)
        for logits, temperature, filters, uniform in draws
    ]
    assert answer["drawn"] == wanted
    assert answer["all"][1] > 0
    ended = iter(answer["ended"])
    for several in stops:
        for text in texts:
            finder = StopFinder(tuple(several))
            pieces = []
            for character in text:
                pieces.append(finder.take(character))
                if finder.found is not None:
                    break
            assert next(ended) == ["".join(pieces), finder.found is not None]


def test_a_server_scores_long_texts_in_pieces_that_part_no_letter_from_its_accent(
    node: Run,
) -> None:
    script = """
    import { open } from "./server.js";
    const answer = [];
    globalThis.document = { baseURI: "http://localhost/" };
    globalThis.fetch = async (url, { body } = {}) => {
      if (body) answer.push(JSON.parse(body).prompt);
      return { ok: true, json: async () => ({ data: [], choices: [{}] }) };
    };
    const server = await open();
    for (const text of given.texts) for await (const _ of server.score({ text }));
    """
    words, solid = "ah" + "the cafe\u0301 " * 3000, "\U0001d4b3" * 6000
    pieces = node(script, {"texts": [words, solid, ""]})
    assert "".join(pieces) == words + solid
    assert max(map(len, pieces)) <= 10_000
    assert not any(piece.startswith(("\u0301", "\udcb3")) for piece in pieces)


def test_a_model_writes_what_charlm_writes(node: Run) -> None:
    """The backend without a server, on ONNX Runtime for Node in place of the browser's."""
    if not (ROOT / "examples/node/node_modules").exists():
        pytest.skip("not installed: npm install --prefix examples/node")
    off = {"temperature": 0.7, "topK": 0, "topP": 1, "minP": 0, "stop": [], "samples": 1}
    asked = [
        {**off, "prompt": "The old\n HOUSE ", "length": 300, "seed": "1"},
        {**off, "prompt": "", "length": 80, "seed": str(2**64 - 1), "temperature": 1},
        {**off, "prompt": "", "length": 40, "seed": "1", "temperature": 0},
        {**off, "prompt": "it was ", "length": 200, "seed": "5", "topP": 0.9, "minP": 0.05,
         "topK": 12, "samples": 2},
        {**off, "prompt": "the ", "length": 300, "seed": "2", "stop": [" and ab", "nd a"]},
    ]  # fmt: skip
    script = """
    import { readFile } from "node:fs/promises";
    env.wasm ??= {};
    globalThis.fetch = async (place) => {
      const content = await readFile(new URL(place));
      return { ok: true, arrayBuffer: () => content, json: () => JSON.parse(content) };
    };
    const { open } = await import("./local.js");
    const { signal } = new AbortController();
    const backend = await open({ model: "model.onnx", name: "lovecraft" });
    async function drawn(request) {
      const texts = [];
      for await (const event of backend.generate(request, signal)) {
        const text = (texts[event.sample] ??= { characters: [] });
        text.characters.push(...event.characters);
        Object.assign(text, { finish: event.finish, state: event.state });
      }
      return texts;
    }
    const written = (text) => text.characters.map((each) => each.text).join("");
    const whole = [];
    for (const one of given.asked)
      whole.push((await drawn({ ...one, state: null, seed: BigInt(one.seed) })));
    const first = whole[0][0];
    const [more] = await drawn({ ...given.asked[0], prompt: "", state: first.state, seed: null });
    const scored = [];
    for await (const piece of backend.score({ text: given.text }, signal)) scored.push(...piece);
    const refused = [];
    for (const odd of [{ prompt: "the {" }, { stop: ["ab€"] }, { temperature: 1e-40 }])
      await drawn({ ...given.asked[0], seed: 1n, ...odd }).catch((e) => refused.push(e.message));
    const answer = {
      texts: whole.map((texts) => texts.map((text) => [written(text), text.finish])),
      bits: first.characters.map((each) => each.bits),
      likely: first.characters[0].likely,
      more: written(more),
      scored: scored.map((each) => each.bits ?? null),
      refused,
    };
    """
    text = "The most merciful thing in the world"
    answer = node('import { env } from "./ort.js";\n' + script, {"asked": asked, "text": text})
    generator = Generator.open(shipped_model(), provider="cpu")
    for one, found in zip(asked, answer["texts"], strict=True):
        for sample, (written, finish) in enumerate(found):
            settings = {
                "length": one["length"], "seed": int(one["seed"]), "sample": sample,
                "temperature": one["temperature"], "top_k": one["topK"], "top_p": one["topP"],
                "min_p": one["minP"],
            }  # fmt: skip
            wanted = generator.text(one["prompt"], **settings, stop=tuple(one["stop"]))
            assert (written, finish) == (wanted, "stop" if one["stop"] else "length")
    begun = generator.read("the old house ")
    first = answer["texts"][0][0][0]
    assert first + answer["more"] == generator.text(
        "the old house ", length=600, seed=1, temperature=0.7
    )
    bits = -generator.log_probabilities(first, begun) / np.log(2)
    np.testing.assert_allclose(answer["bits"], bits, atol=1e-4)
    likely = np.exp(np.sort(begun.log_probabilities())[::-1][:5])
    np.testing.assert_allclose([share for _, share in answer["likely"]], likely, atol=1e-5)
    assert answer["scored"][0] is None
    judged = -generator.log_probabilities(text)[1:] / np.log(2)
    np.testing.assert_allclose(answer["scored"][1:], judged, atol=1e-4)
    for said, word in zip(answer["refused"], ["{", "€", "1e-30"], strict=True):
        assert word in said
