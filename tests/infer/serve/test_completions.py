"""`/v1/completions`: the texts of `charlm gen`, in OpenAI's form."""

import base64
import itertools
import json
import math
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from starlette.testclient import TestClient

from charlm.infer.generator import Generator
from charlm.infer.model.state import State
from charlm.infer.request import Request
from charlm.infer.serve.drawing import Drawer, StreamedText
from charlm.infer.serve.judging import LogprobReader
from charlm.infer.serve.service import Service
from charlm.infer.serve.settings import LONG_PROMPT, PACE, Limits
from tests.infer.serve.conftest import complete, events

SETTINGS: list[dict[str, Any]] = [
    {},
    {"prompt": "The "},
    {"prompt": "ab", "temperature": 0.5, "top_k": 5, "top_p": 0.9, "min_p": 0.01},
    {"prompt": "ab", "temperature": 0},
    {"prompt": "ab", "stop": ["e", "zz"]},
    {"prompt": "the lamp " * LONG_PROMPT},
]


def text_of(exact: Generator, body: dict[str, Any], **settings: Any) -> str:
    asked = {"length": 300, "seed": 7, **{k: v for k, v in body.items() if k != "prompt"}}
    return exact.text(body.get("prompt", ""), **asked, **settings)


@pytest.mark.parametrize("body", SETTINGS, ids=lambda body: ",".join(body) or "nothing")
@pytest.mark.parametrize("stream", [False, True])
def test_a_seed_means_the_text_of_charlm_gen(
    client: TestClient, exact: Generator, body: dict[str, Any], stream: bool
) -> None:
    asked = {**body, "max_tokens": 300, "seed": 7, "n": 3, "user": "someone"}
    wanted = [text_of(exact, body, sample=sample) for sample in range(3)]
    finish = ["stop" if len(each) < 300 else "length" for each in wanted]
    if not stream:
        found = complete(client, **asked)
        choices = found["choices"]
        assert [each["text"] for each in choices] == wanted
        assert [each["finish_reason"] for each in choices] == finish
        assert found["usage"]["prompt_tokens"] == len(body.get("prompt", ""))
        assert found["usage"]["completion_tokens"] == sum(map(len, wanted))
        assert (found["model"], found["object"], found["seed"]) == ("exact", "text_completion", 7)
        return
    options = {"include_usage": True}
    answer = client.post(
        "/v1/completions", json={**asked, "stream": True, "stream_options": options}
    )
    assert answer.headers["content-type"].startswith("text/event-stream")
    *chunks, last = events(answer.text)
    assert last["choices"] == []
    assert last["usage"]["completion_tokens"] == sum(map(len, wanted))
    for index in range(3):
        pieces = [c for chunk in chunks for c in chunk["choices"] if c["index"] == index]
        assert "".join(each["text"] for each in pieces) == wanted[index]
        assert [each["finish_reason"] for each in pieces[:-1]] == [None] * (len(pieces) - 1)
        assert pieces[-1]["finish_reason"] == finish[index]


def test_prompts_of_a_list_are_the_lines_of_a_file(client: TestClient, exact: Generator) -> None:
    prompts = ["a", "the ", ""]
    found = complete(client, prompt=prompts, seed=3, max_tokens=40)["choices"]
    requests = [Request(p, length=40, seed=3, sample=s) for s, p in enumerate(prompts)]
    assert [each["text"] for each in found] == [str(each) for each in exact.batch(requests)]
    twice = complete(client, prompt=prompts, seed=3, max_tokens=40, n=2)["choices"]
    assert [each["index"] for each in twice] == list(range(6))
    assert twice[3]["text"] == exact.text("the ", length=40, seed=3, sample=3)
    ids = [exact.encode(prompt).tolist() for prompt in prompts]
    assert complete(client, prompt=ids[1], seed=3, max_tokens=40)["choices"][0]["text"] == (
        exact.text("the ", length=40, seed=3)
    )
    assert complete(client, prompt=ids, seed=3, max_tokens=40)["choices"] == found


def test_a_seed_that_is_not_given_is_told(client: TestClient) -> None:
    first = complete(client, prompt="a", max_tokens=50)
    again = complete(client, prompt="a", max_tokens=50, seed=first["seed"])
    assert again["choices"] == first["choices"]
    assert complete(client, prompt="a")["usage"]["completion_tokens"] == 16, "as OpenAI has it"


def test_a_text_that_ends_as_it_begins(client: TestClient, exact: Generator) -> None:
    """Its only character follows from no prompt, and is drawn before there is a block."""
    wanted = exact.text(length=1, seed=7)
    assert complete(client, max_tokens=1, seed=7)["choices"][0]["text"] == wanted


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize("echo", [False, True])
@pytest.mark.parametrize("prompt", ["", "the lamp"])
def test_log_probabilities_are_the_models_own(
    client: TestClient, exact: Generator, prompt: str, echo: bool, stream: bool
) -> None:
    asked: dict[str, Any] = {"prompt": prompt, "max_tokens": 600, "seed": 1, "temperature": 0.7}
    asked |= {"logprobs": 3, "echo": echo}
    if stream:
        chunks = events(client.post("/v1/completions", json={**asked, "stream": True}).text)
        pieces = [choice for chunk in chunks for choice in chunk["choices"]]
        assert "".join(each["text"] for each in pieces[:1]).startswith(prompt if echo else "")
        text = "".join(each["text"] for each in pieces)
        found = {name: list(itertools.chain(*(each["logprobs"][name] for each in pieces)))
                 for name in pieces[0]["logprobs"]}  # fmt: skip
    else:
        (choice,) = complete(client, **asked)["choices"]
        text, found = choice["text"], choice["logprobs"]
    drawn = exact.text(prompt, length=600, seed=1, temperature=0.7)
    assert text == (prompt if echo else "") + drawn
    assert "".join(found["tokens"]) == text
    start = 0 if echo else len(prompt)
    assert found["text_offset"] == list(range(start, len(prompt) + len(drawn)))
    rows = list(exact.predictions(prompt + drawn))[start:]
    for place, (character, row) in enumerate(zip(text, rows, strict=True)):
        own, top = found["token_logprobs"][place], found["top_logprobs"][place]
        if start + place == 0:
            assert own is top is None, "nothing is predicted of a text's first character"
            continue
        assert own == pytest.approx(row[exact.vocabulary.id_of(character)], abs=1e-4)
        assert top[character] == own
        assert 3 <= len(top) <= 4
        likeliest = sorted(row.tolist(), reverse=True)[:3]
        assert list(top.values())[:3] == pytest.approx(likeliest, abs=1e-4)


def test_a_top_p_of_0_is_the_likeliest(client: TestClient) -> None:
    """As OpenAI has it."""
    found = [complete(client, prompt="ab", seed=1, **{name: 0})["choices"]
             for name in ("top_p", "temperature")]  # fmt: skip
    assert found[0] == found[1]


def test_a_prompt_is_judged_without_drawing(client: TestClient, exact: Generator) -> None:
    (choice,) = complete(client, prompt="the lamp", max_tokens=0, echo=True, logprobs=0)["choices"]
    assert (choice["text"], choice["finish_reason"]) == ("the lamp", "length")
    wanted = exact.log_probabilities("the lamp")[1:].tolist()
    assert choice["logprobs"]["token_logprobs"][1:] == pytest.approx(wanted, abs=1e-4)


@pytest.mark.parametrize("echoed", ["the lamp", ""])
def test_null_before_ids_has_the_first_character_judged(
    client: TestClient, exact: Generator, echoed: str
) -> None:
    ids = [None, *exact.encode(echoed).tolist()]
    asked: dict[str, Any] = {"max_tokens": 3, "seed": 1, "logprobs": 1}
    (choice,) = complete(client, prompt=[ids], echo=True, **asked)["choices"]
    text, found = echoed + exact.text(echoed, length=3, seed=1), choice["logprobs"]
    assert (choice["text"], found["tokens"]) == (text, ["", *text])
    assert found["text_offset"] == [0, *range(len(text))]
    assert found["token_logprobs"][0] is found["top_logprobs"][0] is None
    wanted = exact.log_probabilities(text).tolist()
    assert found["token_logprobs"][1:] == pytest.approx(wanted, abs=1e-4)
    plain = complete(client, prompt=exact.encode(echoed).tolist() or "", **asked)["choices"]
    assert complete(client, prompt=ids, **asked)["choices"] == plain


def test_nothing_is_judged_for_a_client_that_has_left(exact: Generator) -> None:
    judge = LogprobReader(exact, State.start(exact.metadata), 0, 0, lambda: False)
    assert judge.read("the lamp")["token_logprobs"] == []


@pytest.mark.parametrize("stop", [None, ["e"]])
def test_a_state_goes_on_as_the_text_would_have(
    client: TestClient, exact: Generator, stop: list[str] | None
) -> None:
    asked: dict[str, Any] = {"max_tokens": 700, "return_state": True, "stop": stop}
    whole = complete(client, prompt="the ", seed=5, n=2, max_tokens=900)["choices"][1]["text"]
    chunks = events(
        client.post("/v1/completions", json={**asked, "prompt": "the ", "seed": 5, "n": 2,
                                             "stream": True}).text
    )  # fmt: skip
    pieces = [c for chunk in chunks for c in chunk["choices"] if c["index"] == 1]
    assert ["state" in each for each in pieces] == [False] * (len(pieces) - 1) + [True]
    first = "".join(each["text"] for each in pieces)
    state = State.from_bytes(base64.b64decode(pieces[-1]["state"]))
    assert (state.characters, state.position) == (4 + len(first), len(first))
    assert (state.seed, state.sample) == (5, 1)
    given = {"state": pieces[-1]["state"], "max_tokens": 900 - len(first)}
    assert first + complete(client, **given)["choices"][0]["text"] == whole
    (more,) = complete(client, **{**given, "max_tokens": 50}, return_state=True)["choices"]
    (last,) = complete(client, state=more["state"], max_tokens=850 - len(first))["choices"]
    assert first + more["text"] + last["text"] == whole
    found = complete(client, prompt="x", seed=9, max_tokens=30, state=given["state"])
    wanted = exact.text("x", state=state, length=30, seed=9)
    assert found["choices"][0]["text"] == wanted
    assert complete(client, **{**asked, "max_tokens": 0})["choices"][0]["state"]


def forged(exact: Generator, **changes: Any) -> str:
    arrays = vars(exact.read("the lamp"))
    return base64.b64encode(State(**{**arrays, **changes}).to_bytes()).decode()


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"weights_sha256": "0" * 64}, "of other weights"),
        ({"h": np.full((1, 16), 3e38, np.float32)}, "damaged"),
        ({"c": np.full((1, 16), 1e30, np.float32)}, "damaged"),
        ({"logits": np.full(28, -np.inf, np.float32)}, "damaged"),
        ({"logits": np.array([3e38, -3e38], np.float32)}, "damaged"),
    ],
)
def test_a_forged_state_is_refused(
    client: TestClient, exact: Generator, changes: dict[str, Any], said: str
) -> None:
    state = exact.read("the lamp")
    shaped = {name: np.resize(value, vars(state)[name].shape) if name != "weights_sha256" else value
              for name, value in changes.items()}  # fmt: skip
    for length in (0, 16):
        asked = {"state": forged(exact, **shaped), "max_tokens": length}
        answer = client.post("/v1/completions", json=asked)
        assert answer.status_code == 400
        assert said in answer.json()["error"]["message"]
    huge = np.full_like(state.c, 2.0**40)
    assert len(complete(client, state=forged(exact, c=huge))["choices"][0]["text"]) == 16


def test_many_streams_are_told_less_often(
    client: TestClient, exact: Generator, monkeypatch: pytest.MonkeyPatch
) -> None:
    service, pauses, submit = Service({"exact": exact}, Limits()), list[float](), Drawer.submit
    held: list[tuple[Drawer, StreamedText]] = []  # drawn only after the prompt was told
    with service.streaming(1):
        assert service.pace == PACE
        with service.streaming(999):
            assert service.pace == 0.25
    assert service.pace == PACE

    async def sleep(seconds: float) -> None:
        pauses.append(seconds)
        while held:
            submit(*held.pop())

    monkeypatch.setattr(Drawer, "submit", lambda *given: held.append(given))
    monkeypatch.setattr("charlm.infer.serve.service.MESSAGES", 1)
    monkeypatch.setattr("charlm.infer.serve.completions.asyncio.sleep", sleep)
    asked = {"prompt": "a", "max_tokens": 20, "n": 2, "stream": True, "echo": True}
    assert client.post("/v1/completions", json=asked).status_code == 200
    assert set(pauses) == {2.0}, "one second for each text"


def test_the_best_of_several(client: TestClient, exact: Generator) -> None:
    asked: dict[str, Any] = {"prompt": ["the ", "a"], "seed": 2, "max_tokens": 50, "logprobs": 0}
    drawn = complete(client, **asked, n=4)["choices"]
    best = complete(client, **asked, n=2, best_of=4, echo=True)["choices"]
    assert [each["index"] for each in best] == [0, 1, 2, 3]
    varied = {"prompt": "a", "seed": 2, "temperature": 5}
    begun = [each["text"][0] for each in complete(client, **varied, n=16)["choices"]]
    stop = sorted(set(begun) - {begun[0]})[:16]
    assert stop
    (kept,) = complete(client, **varied, best_of=16, stop=stop)["choices"]
    assert kept["text"], "one that has characters is better than one that has none"
    stopped: dict[str, Any] = {"prompt": "the ", "seed": 2, "best_of": 16, "stop": [*"eaox"]}
    plain, echoed = (complete(client, **stopped, echo=echo)["choices"] for echo in (False, True))
    assert echoed[0]["text"] == "the " + plain[0]["text"], "the prompt's own cost has no part in it"
    for prompt, start in (("the ", 0), ("a", 4)):
        means = {each["text"]: np.mean(each["logprobs"]["token_logprobs"])
                 for each in drawn[start : start + 4]}  # fmt: skip
        wanted = sorted(means, key=lambda text: -means[text])[:2]
        assert [each["text"] for each in best[start // 2 :][:2]] == [prompt + w for w in wanted]


@pytest.mark.parametrize(
    ("body", "param", "said"),
    [
        ({"prompt": "?"}, "prompt", "'?' (U+003F) at position 0"),
        ({"prompt": ["a", "?"]}, "prompt", '; "unknown": "drop" leaves it out'),
        ({"unknown": "??"}, None, "'??' is not one of the model's"),
        ({"stop": "?"}, "stop", "can never come"),
        ({"stop": ""}, "stop", "1 character"),
        ({"stop": "a" * 1000}, "stop", "256"),
        ({"stop": ["a"] * 17}, "stop", "16"),
        ({"stop": 1}, "stop", "a list of texts"),
        ({"prompt": []}, "prompt", "no prompt"),
        ({"prompt": [[0], [99]]}, "prompt", "token id 99"),
        ({"prompt": [0, None]}, "prompt", "null"),
        ({"prompt": ["a", 1]}, "prompt", "or token ids"),
        ({"max_tokens": 5001}, "max_tokens", "up to 5000"),
        ({"max_tokens": -1}, "max_tokens", ""),
        ({"max_tokens": True}, "max_tokens", ""),
        ({"temperature": 1e-35}, None, "temperature"),
        ({"top_p": 2}, "top_p", ""),
        ({"seed": 1 << 64}, "seed", ""),
        ({"n": 257}, "n", "256 are allowed"),
        ({"n": 3, "best_of": 2}, "best_of", "n or more"),
        ({"n": 1, "best_of": 2, "stream": True}, "best_of", "streamed"),
        ({"stream_options": {"include_usage": True}}, "stream_options", "goes with stream"),
        ({"logprobs": 21}, "logprobs", ""),
        ({"suffix": "the end"}, "suffix", "not supported"),
        ({"frequency_penalty": 0.5}, "frequency_penalty", "not supported"),
        ({"logit_bias": {"3": 1}}, "logit_bias", "not supported"),
        ({"state": "§"}, "state", "base64"),
        ({"state": "AAAA"}, None, "not a state"),
        ({"messages": []}, "messages", "no such field"),
        ({"temperature": "1"}, "temperature", ""),
    ],
)
def test_what_is_not_served_is_said(
    client: TestClient, body: dict[str, Any], param: str | None, said: str
) -> None:
    answer = client.post("/v1/completions", json=body)
    error = answer.json()["error"]
    assert (answer.status_code, error["param"]) == (400, param), error
    assert error["type"] == "invalid_request_error"
    assert said in error["message"]
    assert "`" not in error["message"]


def test_neutral_values_of_what_is_not_served_are_taken(client: TestClient) -> None:
    neutral: dict[str, Any] = {"frequency_penalty": 0, "presence_penalty": 0.0, "logit_bias": {},
                               "suffix": None, "best_of": 1, "n": 1, "stop": None,
                               "logprobs": None, "unknown": "drop"}  # fmt: skip
    never = {**neutral, "stop": ["?", "\n\n"]}  # as lm-eval stops any text
    assert (
        complete(client, prompt="a", seed=1, **never)["choices"]
        == (complete(client, prompt="a", seed=1)["choices"])
    )
    assert complete(client, prompt="a?", seed=1, **neutral) | {"id": 0, "created": 0} == (
        complete(client, prompt="a", seed=1) | {"id": 0, "created": 0}
    )


def test_errors_have_one_form(client: TestClient) -> None:
    given = [
        ("/v1/completions", {"model": "gpt-4"}, 404, "model_not_found"),
        ("/v1/chat/completions", {"messages": []}, 400, "unsupported"),
        ("/v1/nothing", {}, 404, None),
        ("/nothing", {}, 404, None),
        ("/health", {}, 405, None),
        ("/detokenize", {"tokens": [99]}, 400, None),
    ]
    for path, body, status, code in given:
        answer = client.post(path, json=body)
        assert (answer.status_code, answer.json()["error"]["code"]) == (status, code), path
    wrong = client.get("/v1/completions")
    assert (wrong.status_code, wrong.headers["allow"]) == (405, "POST")
    assert client.head("/health").status_code == client.head("/").status_code == 200
    form = client.post("/v1/completions", data={"prompt": "a"})
    assert (form.status_code, "application/json" in form.json()["error"]["message"]) == (400, True)
    for content in (b"{", b"\xff", b'{"seed": NaN}', b"[" * 5000, b"9" * 5000, b"[]"):
        headers = {"content-type": "application/json"}
        answer = client.post("/v1/completions", content=content, headers=headers)
        assert answer.status_code == 400, answer.text
        assert answer.json()["error"]["message"]
    plain = client.post("/v1/completions", content=b'{"prompt": "a"}')
    assert "Content-Type: application/json" in plain.json()["error"]["message"]
    looked_at = client.get("/v1/completions")
    assert (looked_at.status_code, looked_at.headers["allow"]) == (405, "POST")


odd = st.one_of(
    st.none(), st.booleans(), st.integers(-2, 300), st.floats(), st.text(max_size=8),
    st.sampled_from([1 << 70, -1, "\ud800", "the ", "AAAA", [], {}, [""], ["a", 1], [[1], [2]]]),
)  # fmt: skip
FIELDS = (
    "model", "prompt", "max_tokens", "temperature", "top_p", "top_k", "min_p", "n", "best_of",
    "stop", "seed", "stream", "stream_options", "echo", "logprobs", "user", "state",
    "return_state", "frequency_penalty", "logit_bias", "suffix", "unknown", "input", "tokens",
)  # fmt: skip


@settings(max_examples=80)
@given(
    path=st.sampled_from(["/v1/completions"] * 4 + ["/v1/score", "/tokenize", "/detokenize"]),
    body=st.dictionaries(st.sampled_from(FIELDS), odd, max_size=5),
)
def test_whatever_a_body_holds_the_server_answers(
    client: TestClient, path: str, body: dict[str, Any]
) -> None:
    headers = {"content-type": "application/json"}
    answer = client.post(path, content=json.dumps(body).encode(), headers=headers)
    assert answer.status_code in (200, 400, 404), answer.text
    if answer.status_code != 200:
        assert answer.json()["error"]["message"]


def test_lines_may_end_as_on_windows(client: TestClient) -> None:
    def answers(end: str) -> list[Any]:
        text = f"the{end}lamp{end}"
        scored = client.post("/v1/score", json={"input": [text, text]}).json()
        ids = client.post("/tokenize", json={"prompt": text}).json()
        asked = {"prompt": [text], "stop": [f"e{end}t"], "seed": 1, "echo": True}
        drawn = client.post("/v1/completions", json=asked).json()
        return [scored, ids, drawn.get("choices", drawn)]

    assert "error" not in str(wanted := answers("\n"))
    assert answers("\r\n") == answers("\r") == wanted


def test_scores_are_those_of_charlm_score(client: TestClient, exact: Generator) -> None:
    texts = ["the lamp in the cellar", "a", "the ?", "the old house " * 900]
    answer = client.post("/v1/score", json={"input": texts}).json()
    assert [each["index"] for each in answer["data"]] == [0, 1, 2, 3]
    for place in (0, 3):
        wanted = exact.score(texts[place])
        found = answer["data"][place]
        assert found["bits_per_character"] == pytest.approx(wanted.bits_per_character, rel=1e-5)
        assert found["characters"] == wanted.characters
        assert math.isfinite(found["perplexity"])
    assert "at least two characters" in answer["data"][1]["error"]["message"]
    assert "'?'" in answer["data"][2]["error"]["message"]
    one = client.post("/v1/score", json={"input": "a"})
    assert (one.status_code, one.json()["error"]["param"]) == (400, "input")
    small = client.post("/v1/score", json={"input": texts[0], "model": "small"}).json()
    assert small["data"][0]["bits"] != answer["data"][0]["bits"]
