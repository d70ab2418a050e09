"""Generating text: one stream as it goes, or many side by side."""

import contextlib
import itertools
import os
from collections.abc import Callable, Iterable, Iterator
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Unpack

import numpy as np
import numpy.typing as npt

from charlm.data.system.errors import ModelFileError, SettingsError
from charlm.data.text.vocabulary import Unknown, Vocabulary
from charlm.export.contract import Metadata
from charlm.infer.engines.base import check_finite, read_in_runs
from charlm.infer.engines.planning import (
    Plan,
    Work,
    choose,
    engine_of,
    open_text_reader,
    provider_for,
    reader_of,
    refusal,
)
from charlm.infer.engines.stream import TextStream
from charlm.infer.model import providers
from charlm.infer.model.open import Model, open_model
from charlm.infer.model.shipped import find_model
from charlm.infer.request import Request, Settings

if TYPE_CHECKING:  # what runs many streams: a single one should not wait for its import
    from charlm.infer.batch.prompt_file import BadLine
    from charlm.infer.batch.results import Outcome
    from charlm.infer.batch.scheduler import Watcher
    from charlm.infer.engines.base import Array
    from charlm.infer.model.state import State
    from charlm.infer.scoring.score import Score

Tokens = npt.NDArray[Any]
MANY = Work(streams=None)


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
        if not isinstance(path, str | os.PathLike | None):
            raise SettingsError(f"a model is the path of a file or a name, not {path!r}")
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
        """The text after a prompt, whole; see `stream`.

        Raises:
            SettingsError: a length of 0, which has no whole.
        """
        if settings.get("length") == 0:
            raise SettingsError("a text without end can't be returned whole: use stream()")
        return "".join(self.stream(prompt, **settings).pieces())

    def stream(self, prompt: str = "", **settings: Unpack[Settings]) -> TextStream:
        """The characters after a prompt, one by one, as they are drawn.

        Args:
            prompt: text to go on with; empty starts from a zero state and a character drawn
                from the training text's frequencies.
            settings: those of `Request`, which has their defaults; with a `state`, seed and sample
                are those of its text if they are not given, so that it goes on as it would have.
                What may begin a stop string is yielded once it is certain that it does not.

        Raises:
            SettingsError: a setting that there is none of, or out of range; an empty stop string.
            VocabularyError: a character of the prompt, or of a stop string, that the model does
                not know.
            StateError: the state is of other weights.
            ModelFileError: while it runs: the model's weights are damaged.
        """
        return self.stream_of(self._request(prompt, settings))

    def _request(self, prompt: str, settings: Settings) -> Request:
        if unknown := settings.keys() - Settings.__annotations__.keys():
            raise SettingsError(
                f"there is no setting {min(unknown)!r}; there are "
                f"{', '.join(Settings.__annotations__)}"
            )
        state = settings.get("state")
        if state is not None and state.seed is not None and "seed" not in settings:
            settings = {"sample": state.sample or 0, **settings, "seed": state.seed}
        return Request(prompt, **settings)

    def stream_of(self, request: Request) -> TextStream:
        """The text that a request wants; see `stream`."""
        tokens = self.encode(request.prompt, request.unknown)
        return TextStream(self.model, self.plan(Work.of(request)), tokens, request)

    def read(
        self, text: str, state: "State | None" = None, unknown: Unknown | None = None
    ) -> "State":
        """The state after a text.

        ```python
        state = generator.read("the old house ")
        state.log_probabilities()  # of the next character, float32 [vocabulary]
        text = generator.text(state=state, length=80, seed=1)
        ```

        Args:
            text: normalised here as the corpus was.
            state: before it; None: the beginning of a text.
            unknown: what becomes of characters that the model does not know.

        Raises:
            VocabularyError: a character that the model does not know.
            StateError: the state is of other weights.
            ModelFileError: the model's weights are damaged.
        """
        before = self._before(state)
        return self.read_tokens(self.encode(text, unknown), before)

    def read_tokens(self, tokens: Tokens, before: "State") -> "State":
        """The state after token ids that follow a state of this model."""
        if not len(tokens):
            return before.copy()
        primed = reader_of(self.model, self.plan(Work())).read([tokens], before.primed)
        check_finite(primed.logits)
        return before.after(primed, len(tokens))

    def _before(self, state: "State | None") -> "State":
        """A state that this model can go on from; the beginning of a text, where none is given."""
        from charlm.infer.model.state import State

        before = State.start(self.metadata) if state is None else state
        before.check(self.metadata)
        return before

    def log_probabilities(
        self, text: str, state: "State | None" = None, unknown: Unknown | None = None
    ) -> "Array":
        """Natural logarithms of the probability of each character of a text, float32 [characters].

        The first character of all has the training text's frequency for its probability. What was
        drawn after a prompt is judged from `state=generator.read(prompt)`.

        Args, Raises: see `read`.
        """
        before, tokens = self._before(state), self.encode(text, unknown)
        found = [before.log_probabilities()]
        if not len(tokens):
            return found[0][:0]
        found[0] = found[0][tokens[:1]]
        if len(tokens) > 1:
            reader, begun = open_text_reader(self.model, self._how["precision"]), before.primed
            runs = read_in_runs(reader, self.model, tokens[None], begun.h, begun.c)
            found += [read.log_probability[0] for _, read in runs]
        whole: Array = np.concatenate(found)
        return whole

    def predictions(
        self, text: str, state: "State | None" = None, unknown: Unknown | None = None
    ) -> "Iterator[Array]":
        """Yield what is expected before each character of a text, in float32 at any precision.

        Yields:
            Natural logarithms of the probabilities, float32 [vocabulary], for each character.

        Args, Raises: see `read`.
        """
        from charlm.infer.scoring.predictions import judge
        from charlm.infer.scoring.score import TokenText

        before = self._before(state)
        tokens, begun = TokenText([text], "the text", self.metadata, unknown), before.primed
        judged = judge(self.model, tokens, (begun.h, begun.c))
        first = [before.log_probabilities()] if len(self.encode(text, unknown)) else []
        return itertools.chain(first, *(each.log_probability for each in judged))

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
        requests: "Iterable[Request | BadLine | None]",
        *,
        width: int | None = None,
        ordered: bool = True,
        watcher: "Watcher | None" = None,
        work: Work = MANY,
    ) -> "Iterator[Outcome]":
        """Yield the text of each of many requests, or why it has none (see `generate_batch`).

        Args:
            requests: any number; they are taken as they are needed.
            width: how many run side by side; None chooses by the device.
            ordered: yield in the order of the requests, or as they are finished.
            watcher: is handed pieces of texts as they come.
            work: what is known of the requests, to choose how; their window, one for all.

        Raises:
            SettingsError: a width that is out of range or does not fit into memory.
            ModelFileError: while it runs: the model's weights are damaged.
        """
        from charlm.infer.batch.scheduler import generate_batch

        chosen = self._chosen_for(work)
        if chosen is not self:
            return chosen.batch(requests, width=width, ordered=ordered, watcher=watcher, work=work)
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
            watcher=watcher,
            refuse=partial(refusal, plan),
        )
