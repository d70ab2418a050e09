"""A folder that ONNX Runtime GenAI loads as it is: the graph, its settings, and a tokenizer."""

import json
from pathlib import Path
from typing import Any

from charlm.data.text.vocabulary import Vocabulary
from charlm.export.contract import LOGITS, Metadata
from charlm.export.graphs.genai_graph import INPUT_IDS

GRAPH = "model.onnx"
SETTINGS = ("genai_config.json", "tokenizer.json", "tokenizer_config.json")
FILES = tuple(Path(name) for name in (GRAPH, "model.json", *SETTINGS))
END = "<|end|>"  # one id past the characters; never drawn
LONGEST = 1 << 20  # characters; GenAI holds an id of four bytes for each of a text's limit


def folder(graph: bytes, metadata: Metadata) -> dict[Path, bytes]:
    """The folder's files, by their names.

    Args:
        graph: of `genai_graph`.
        metadata: of the model.
    """
    tokenizer = {
        "tokenizer_class": "GPT2Tokenizer",  # GenAI's byte-level one
        **dict.fromkeys(("bos_token", "eos_token", "unk_token"), END),
        "add_prefix_space": False,
        "add_bos_token": False,
    }
    settings = [_config(metadata), _tokenizer(metadata.vocabulary), tokenizer]
    contents = (
        graph,
        metadata.to_json().encode(),
        *(json.dumps(x, indent=1).encode() for x in settings),
    )
    return dict(zip(FILES, contents, strict=True))


def _config(metadata: Metadata) -> dict[str, Any]:
    end = len(metadata.vocabulary)
    decoder = {
        "filename": GRAPH,
        "session_options": {"intra_op_num_threads": 1, "provider_options": []},
        "hidden_size": metadata.hidden,
        "num_hidden_layers": 1,  # all layers of the LSTM are one of GenAI's
        **dict.fromkeys(("num_attention_heads", "num_key_value_heads"), 1),
        "head_size": metadata.hidden,
        # GenAI derives the states' names from those of keys and values, which the graph has not.
        "inputs": {
            "input_ids": INPUT_IDS,
            "past_key_names": "past_key_values.%d.key",
            "past_value_names": "past_key_values.%d.value",
        },
        "outputs": {
            "logits": LOGITS,
            "present_key_names": "present.%d.key",
            "present_value_names": "present.%d.value",
        },
    }
    return {
        "model": {
            "type": "decoder",
            "vocab_size": end + 1,
            "context_length": LONGEST,
            **dict.fromkeys(("bos_token_id", "eos_token_id", "pad_token_id"), end),
            "decoder": decoder,
        },
        "search": {"do_sample": True, "temperature": 1.0, "top_k": 0, "top_p": 1.0,
                   "max_length": 1000},
    }  # fmt: skip


def _tokenizer(vocabulary: Vocabulary) -> dict[str, Any]:
    """A byte-level BPE whose merges only put the bytes of one character together."""
    letters = _byte_letters()
    spelt = [[letters[byte] for byte in each.encode()] for each in vocabulary.characters]
    ids = {"".join(each): token for token, each in enumerate(spelt)} | {END: len(spelt)}
    merges: dict[str, None] = {}  # an ordered set
    for each in spelt:
        for letter in each:
            ids.setdefault(letter, len(ids))
        for size in range(1, len(each)):
            start = "".join(each[:size])
            ids.setdefault(start + each[size], len(ids))
            merges[f"{start} {each[size]}"] = None
    level = {"type": "ByteLevel", "add_prefix_space": False, "trim_offsets": True}
    special = {"id": len(spelt), "content": END, "special": True}
    flags = dict.fromkeys(("single_word", "lstrip", "rstrip", "normalized"), False)
    empty = dict.fromkeys(("continuing_subword_prefix", "end_of_word_suffix"), "")
    return {
        "version": "1.0",
        **dict.fromkeys(("truncation", "padding", "normalizer", "post_processor")),
        "added_tokens": [special | flags],
        "pre_tokenizer": level | {"use_regex": False},
        "decoder": level | {"use_regex": False},
        "model": {"type": "BPE", **empty, "vocab": ids, "merges": list(merges)},
    }


def _byte_letters() -> dict[int, str]:
    """The letter by which GPT-2's vocabularies write each byte: itself where it can be seen."""
    seen = [*range(ord("!"), ord("~") + 1), *range(ord("¡"), ord("¬") + 1)]
    seen += range(ord("®"), ord("ÿ") + 1)
    unseen = [byte for byte in range(256) if byte not in seen]
    return {byte: chr(byte) for byte in seen} | {
        byte: chr(256 + place) for place, byte in enumerate(unseen)
    }
