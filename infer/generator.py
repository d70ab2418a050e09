"""Generating text: one stream as it goes, or many side by side."""

import contextlib
import itertools
from collections.abc import Callable, Iterable, Iterator
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Unpack

import numpy as np
import numpy.typing as npt

from charlm.data.system.errors import ModelFileError, SettingsError
from charlm.data.text.vocabulary import Unknown, Vocabulary
from charlm.export.contract import Metadata
from charlm.infer.engines.base import check_finite
from charlm.infer.model import providers
from charlm.infer.model.open import Model, open_model
from charlm.infer.model.shipped import find_model
from charlm.infer.planning import (
    Plan,
    Work,
    choose,
    engine_of,
    provider_for,
    reader_of,
    refusal,
)
from charlm.infer.request import Request, Settings
from charlm.infer.sampling.draw import Sampling, draw_first
from charlm.infer.sampling.philox import UniformStream

if TYPE_CHECKING:  # what runs many streams: a single one should not wait for its import
    from charlm.infer.batch.prompt_file import BadLine
    from charlm.infer.batch.results import Outcome
    from charlm.infer.batch.scheduler import Show
    from charlm.infer.scoring.score import Score

Tokens = npt.NDArray[Any]
MANY = Work(streams=None)
FIRST_BLOCK = 16  # a reader waits for no more than this before the first character


class Generator:
    """Generates text with one model.

    ```python
    generator = Generator.open("model.onnx")
    for character in generator.stream("When I drew nigh", length=500, seed=7):
        print(character, end="")
    ```

    Args:
        model: an open model.
        precision: of the products: `float32`, `int8` (CPU) or `fp16` (CUDA). Another precision is
            another model, with its own texts.
        threads: CPU threads; None: what is best for the work.
        via: `auto`, or `native`, `blocks` or `steps` to compare them.

    Attributes:
        model: the open model; streams share it, each with a state of its own.
    """

    def __init__(
        self,
        model: Model,
        precision: str = "float32",
        threads: int | None = None,
        via: str = "auto",
    ) -> None:
        self.model = model
        self._how: dict[str, Any] = {"precision": precision, "threads": threads, "via": via}
        self._open_for: Callable[[Work], Generator] | None = None
        self._for_many: Generator | None = None

    @classmethod
    def open(
        cls,
        path: str | Path | None = None,
        provider: str = "auto",
        threads: int | None = None,
        precision: str = "float32",
        via: str = "auto",
        work: Work | None = None,
    ) -> "Generator":
        """Open a model file; None opens `./model.onnx`, or else the model that ships.

        `provider="auto"` opens it on the CPU, and on a GPU too once there is work that gains by
        one (see `work`); where `work` says so, at once.

        Raises:
            ModelFileError, ProviderError, MissingExtraError, SettingsError: see `open_model`.
        """
        chosen = find_model(None if path is None else Path(path))
        device, _ = provider_for(work or Work(), provider, precision)
        made = cls(open_model(chosen, device, threads, precision), precision, threads, via)
        if work is None and device != provider:
            made._open_for = partial(cls.open, chosen, provider, threads, precision, via)
        return made

    def _chosen_for(self, work: Work) -> "Generator":
        """This one, or where `auto` has some work done by a GPU that is here, one on the GPU."""
        open_for, precision = self._open_for, self._how["precision"]
        if open_for is None or provider_for(work, "auto", precision)[0] != "auto":
            return self
        if self._for_many is None:
            self._for_many = self
            if providers.choose("auto").device == "cuda":
                with contextlib.suppress(ModelFileError):  # the file has gone since
                    found = open_for(work)
                    if found.model.device == "cuda" and found.metadata == self.metadata:
                        self._for_many = found
                    self.model.note = self.model.note or found.model.note
        return self._for_many

    def plan(self, work: Work, width: int | None = None) -> Plan:
        """How some work is done.

        Args:
            work: what is asked for.
            width: how many texts of it run side by side; None: what is best.

        Raises:
            SettingsError, ModelFileError: see `choose`; a width out of range.
        """
        return choose(work, self.model, width=width, **self._how)

    @property
    def metadata(self) -> Metadata:
        """What the model file says of itself."""
        return self.model.metadata

    @property
    def vocabulary(self) -> Vocabulary:
        """The characters that the model knows."""
        return self.model.metadata.vocabulary

    def encode(self, prompt: str, unknown: Unknown | None = None) -> Tokens:
        """Token ids of a prompt, normalised as the corpus was.

        Raises:
            VocabularyError: a character that the model does not know, also as `unknown`.
        """
        chosen = self.metadata.unknown(unknown)
        return self.vocabulary.encode(self.metadata.normalisation(prompt), chosen)

    def normalised(self, prompt: str, unknown: Unknown | None = None) -> str:
        """A prompt as the model reads it.

        Raises:
            VocabularyError: a character that the model does not know.
        """
        return self.vocabulary.decode(self.encode(prompt, unknown))

    def lacks(self, prompt: str) -> int:
        """How many characters of a prompt the model does not know."""
        return self.vocabulary.lacks(self.metadata.normalisation(prompt))

    def text(self, prompt: str = "", **settings: Unpack[Settings]) -> str:
        """The text after a prompt, whole; see `pieces`.

        Raises:
            SettingsError: a length of 0, which has no whole.
        """
        if settings.get("length") == 0:
            raise SettingsError("a text without end can't be returned whole: use stream()")
        return "".join(self.pieces(prompt, **settings))

    def stream(self, prompt: str = "", **settings: Unpack[Settings]) -> Iterator[str]:
        """Yield the characters after a prompt one by one; see `pieces`."""
        return itertools.chain.from_iterable(self.pieces(prompt, **settings))

    def pieces(self, prompt: str = "", **settings: Unpack[Settings]) -> Iterator[str]:
        """Yield the text after a prompt in pieces, as they are drawn.

        Args:
            prompt: text to go on with; empty starts from a zero state and a character drawn
                from the training text's frequencies.
            settings: those of `Request`, which has their defaults. What may begin a stop string is
                yielded once it is certain that it does not.

        Raises:
            SettingsError: a setting out of range, or an empty stop string.
            VocabularyError: a character of the prompt, or of a stop string, that the model does
                not know.
            ModelFileError: while it runs: the model's weights are damaged.
        """
        return self.pieces_of(Request(prompt, **settings))

    def pieces_of(self, request: Request) -> Iterator[str]:
        """Yield the text that a request wants in pieces, as they are drawn; see `pieces`."""
        tokens = self.encode(request.prompt, request.unknown)
        text = _pieces(self.model, self.plan(Work.of(request)), tokens, request)
        if not request.stops:
            return text
        from charlm.infer.sampling import stops

        return stops.until(text, stops.normalised(request.stops, self.metadata))

    def score(self, text: str, unknown: Unknown | None = None) -> "Score":
        """How well the model predicts a text, read from a zero state (see `Scorer`).

        Raises:
            VocabularyError: a character that the model does not know.
            CorpusError: fewer than two characters.
            ModelFileError: the model's weights are damaged.
        """
        from charlm.infer.scoring.score import Scorer

        return Scorer(self.model, unknown, self._how["precision"]).score([text])

    def batch(
        self,
        requests: "Iterable[Request | BadLine]",
        *,
        width: int | None = None,
        ordered: bool = True,
        show_first: "Show | None" = None,
        work: Work = MANY,
    ) -> "Iterator[Outcome]":
        """Yield the text of each of many requests, or why it has none (see `generate_batch`).

        Args:
            requests: any number; they are taken as they are needed.
            width: how many run side by side; None chooses by the device.
            ordered: yield in the order of the requests, or as they are finished.
            show_first: is handed the first request's prompt and pieces of its text as they come.
            work: what is known of the requests, to choose how; their window, one for all.

        Raises:
            SettingsError: a width that is out of range or does not fit into memory.
            ModelFileError: while it runs: the model's weights are damaged.
        """
        from charlm.infer.batch.scheduler import generate_batch

        chosen = self._chosen_for(work)
        if chosen is not self:
            return chosen.batch(
                requests, width=width, ordered=ordered, show_first=show_first, work=work
            )
        plan = self.plan(work, width)
        engines = 2 if self.model.device == "cuda" else 1  # a GPU draws while a core cuts texts
        return generate_batch(
            [engine_of(self.model, plan) for _ in range(engines)],
            reader_of(self.model, plan),
            self.metadata,
            requests,
            width=plan.width,
            ordered=ordered,
            longest_block=plan.longest_block,
            show_first=show_first,
            refuse=partial(refusal, plan),
        )


def _pieces(model: Model, plan: Plan, prompt: Tokens, request: Request) -> Iterator[str]:
    """The text after a prompt's token ids, by blocks that grow; stop strings are the caller's.

    The prompt has been read when this returns: what can't be opened is found before a character
    is shown.

    Raises:
        ModelFileError: the weights are damaged, or a graph beside the model can't be used.
    """
    vocabulary, left = model.metadata.vocabulary, request.length
    numbers, first = UniformStream(request.seed, request.sample), ""
    if not len(prompt):
        initial = np.asarray(model.metadata.initial, dtype=np.float32)
        prompt = np.array([draw_first(initial, numbers, request.temperature)])
        first = vocabulary.characters[prompt[0]]
        if left == 1:
            return iter([first])
        left = left and left - 1
    primed = reader_of(model, plan).read([prompt])
    check_finite(primed.logits)
    engine = engine_of(model, plan)
    engine.start(primed, Sampling.same(1, len(vocabulary), request.temperature, request.filters))
    return itertools.chain(
        [first] if first else (),
        (
            vocabulary.decode(engine.draw([numbers], steps)[0])
            for steps in _blocks(left, plan.longest_block)
        ),
    )


def _blocks(left: int, longest: int) -> Iterator[int]:
    """Lengths of blocks that grow; `left` in all, or without end where that is 0."""
    endless, block = left == 0, FIRST_BLOCK if longest > FIRST_BLOCK else 1  # a step may be slow
    while endless or left:
        steps = block if endless else min(block, left)
        yield steps
        left -= 0 if endless else steps
        block = min(2 * block, longest)
