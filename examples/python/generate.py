"""Generate text with a charlm model: onnxruntime and numpy alone.

python generate.py MODEL PROMPT TEMPERATURE SEED LENGTH
"""

import json
import sys
import unicodedata

import numpy as np
import onnxruntime as ort

if len(sys.argv) != 6:
    raise SystemExit(__doc__)
model, prompt = sys.argv[1:3]
temperature, seed, length = float(sys.argv[3]), int(sys.argv[4]), int(sys.argv[5])

options = ort.SessionOptions()
options.intra_op_num_threads = 1  # a step is too small to share among cores
session = ort.InferenceSession(model, options, providers=["CPUExecutionProvider"])
metadata = session.get_modelmeta().custom_metadata_map
if (metadata["charlm.format"], metadata["charlm.sampling"]) != ("1", "1"):
    raise SystemExit(f"{model}: written by a later charlm")
config = json.loads(metadata["charlm.config"])
vocabulary = json.loads(metadata["charlm.vocabulary"])

rules = config["normalisation"]
prompt = prompt.replace("\n", {"keep": "\n", "space": " ", "drop": ""}[rules["newlines"]])
prompt = prompt.lower() if rules["case"] == "lower" else prompt
prompt = unicodedata.normalize("NFC", prompt) if rules["nfc"] else prompt
if unknown := set(prompt).difference(vocabulary):
    raise SystemExit(f"{model}: its vocabulary lacks {''.join(sorted(unknown))!r}")


def step(token, h, c):
    """Read a character: logits [1, vocabulary] of the next one, and the next state."""
    feeds = {"token": np.array([token], np.int64), "h": h, "c": c}
    return session.run(["logits", "h_next", "c_next"], feeds)


h = c = np.zeros((1, config["layers"], config["hidden"]), np.float32)
scores = np.array([json.loads(metadata["charlm.initial"])], np.float32)  # of an empty prompt
for character in prompt:
    scores, h, c = step(vocabulary.index(character), h, c)
print(prompt, end="")
words = np.random.Philox(key=np.array([seed, 0], np.uint64)).random_raw(length)
for position, word in enumerate(words):
    token = int(scores.argmax())
    if temperature > 0:
        if prompt or position > 0:
            scores = np.exp((scores - scores.max()) * np.float32(1 / temperature))
        sums = np.cumsum(scores)  # the first token whose sum reaches a random share of the total
        share = (np.float32(word >> 41) + np.float32(0.5)) * np.float32(2**-23)
        token = int(np.searchsorted(sums, share * sums[-1]))
    print(vocabulary[token], end="", flush=True)
    scores, h, c = step(token, h, c)
print()
