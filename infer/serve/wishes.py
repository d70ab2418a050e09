"""What a body of `POST /v1/completions` asks for: each text a request of its own, checked."""

import base64
import binascii
from collections.abc import Sequence
from dataclasses import dataclass, replace

from charlm.data.system.errors import SettingsError, VocabularyError
from charlm.infer.generator import Generator
from charlm.infer.model.state import State
from charlm.infer.request import Request, draw_seed
from charlm.infer.sampling import stops
from charlm.infer.sampling.filters import SMALLEST_TOP_P
from charlm.infer.serve.bodies import ApiError, CompletionBody, client_error
from charlm.infer.serve.service import ServedModel
from charlm.infer.serve.settings import DEFAULT_LENGTH, Limits


@dataclass(frozen=True)
class Wish:
    """One text that a body asks for.

    Attributes:
        request: what is drawn; a length of 0 draws nothing.
        prompt: as the model reads it.
        before: the state before the prompt.
        begun: null stands before the prompt's ids: its first character is judged, too.
    """

    request: Request
    prompt: str
    before: State
    begun: bool


def read_body(body: CompletionBody, model: ServedModel, limits: Limits) -> list[Wish]:
    """What a body asks for, checked: every text of the first prompt, then of the next.

    Text i is sample i of the seed, or where a state goes on without a new seed, of its own.

    Raises:
        ApiError: what is out of range, a prompt that the model can't read, a stop string that can't
            come.
        CharlmError: a state of other weights, an `unknown` that the model lacks.
    """
    length = DEFAULT_LENGTH if body.max_tokens is None else body.max_tokens
    if length > limits.length:
        raise ApiError(f"max_tokens is up to {limits.length}, not {length}", param="max_tokens")
    generator = model.generator
    before = model.start if body.state is None else _state(body.state, generator)
    unknown = limits.unknown if body.unknown is None else body.unknown
    seed, sample = body.seed, 0
    if seed is None and before.seed is not None:
        seed, sample = before.seed, before.sample or 0
    generator.metadata.unknown(unknown)  # it must be known
    stop = _stops(body, generator, unknown)
    begun = [not isinstance(each, str) and each[:1] == [None] for each in body.prompts]
    texts = [
        each if isinstance(each, str) else text_of(each[null:], generator)
        for each, null in zip(body.prompts, begun, strict=True)
    ]
    try:
        request = Request(
            texts[0],
            sample=sample,
            length=length,
            temperature=1.0 if body.temperature is None else body.temperature,
            seed=draw_seed() if seed is None else seed,
            top_k=body.top_k or 0,
            top_p=1.0 if body.top_p is None else max(SMALLEST_TOP_P, body.top_p),
            min_p=body.min_p or 0.0,
            stop=stop,
            unknown=unknown,
            state=before if body.state is not None else None,
        )
    except SettingsError as problem:
        raise ApiError(str(problem).replace("`length`", "max_tokens").replace("`", "")) from problem
    wishes: list[Wish] = []
    for text, null in zip(texts, begun, strict=True):
        try:
            shown = generator.normalised(text, unknown)
        except VocabularyError as problem:
            raise client_error(problem, "prompt") from problem
        for _ in range(body.drawn):
            if wishes:
                request = replace(request, prompt=text, sample=sample + len(wishes))
            wishes.append(Wish(request, shown, before, null))
    return wishes


def _stops(body: CompletionBody, generator: Generator, unknown: str | None) -> tuple[str, ...]:
    """The stop strings; one that can't come is an error, as such characters are in a prompt."""
    given = [body.stop] if isinstance(body.stop, str) else body.stop or []
    found: list[str] = []
    for each in given:
        try:
            stops.normalised([each], generator.metadata)
        except (SettingsError, VocabularyError) as problem:
            if unknown in (None, "error"):
                raise client_error(problem, "stop") from problem
        else:
            found.append(each)
    return tuple(found)


def text_of(ids: Sequence[int | None], generator: Generator, field: str = "prompt") -> str:
    """The text of token ids that a field of the body holds.

    Raises:
        ApiError: one that the vocabulary has not.
    """
    characters = generator.vocabulary.characters
    for each in ids:
        if each is None:
            raise ApiError("null stands only before all token ids", param=field)
        if each >= len(characters):
            raise ApiError(
                f"token id {each} is past the model's {len(characters)} characters", param=field
            )
    return "".join(characters[each] for each in ids if each is not None)


def _state(given: str, generator: Generator) -> State:
    try:
        content = base64.b64decode(given, validate=True)
    except (binascii.Error, ValueError) as problem:
        raise ApiError(f"state is not base64: {problem}", param="state") from problem
    state = State.from_bytes(content)
    state.check(generator.metadata)
    return state
