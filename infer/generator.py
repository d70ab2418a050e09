"""Generating text: one stream as it goes, or several samples side by side."""

import itertools
import sys
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from charlm.data.errors import SettingsError
from charlm.data.vocabulary import Unknown, Vocabulary
from charlm.export.contract import Metadata
from charlm.infer import sampler
from charlm.infer.artifact import Model, open_model
from charlm.infer.sampler import Filters, Sampler, UniformStream, take_block
from charlm.infer.session import Stepper, check_finite
from charlm.infer.shipped import default_model

if TYPE_CHECKING:  # what runs many streams: a single one should not wait for its import
    from charlm.infer.batch import Show
    from charlm.infer.requests import BadLine, Request
    from charlm.infer.results import Outcome

Tokens = npt.NDArray[Any]
POSITIONS = 64  # whose random numbers are drawn at once: few calls, and no more memory than state
MAX_SAMPLES = 1 << 16  # side by side; more would be gigabytes of state


@dataclass(frozen=True)
class Settings:
    """How a text is drawn. With the model and the prompt it fixes the text."""

    length: int = 200  # characters to draw; 0: without end
    temperature: float = 1.0  # the model's own distribution; 0: always the likeliest
    top_k: int = 0  # of the likeliest characters; 0: all
    top_p: float = 1.0  # share of the probability that the likeliest must reach; 1: all of it
    min_p: float = 0.0  # of the likeliest character's probability; 0: however little
    seed: int = 0
    unknown: Unknown = "error"  # what becomes of a prompt's characters that the model lacks
    stop: str | tuple[str, ...] = ()  # the text ends before the first of them

    def __post_init__(self) -> None:
        if self.length < 0:
            raise SettingsError(f"--length is 0 (without end) or more, not {self.length}")
        sampler.check_seed(self.seed)
        sampler.inverse_temperature(self.temperature)
        _ = self.filters

    @property
    def filters(self) -> Filters:
        """Which characters may be drawn.

        Raises:
            SettingsError: a filter out of range.
        """
        return Filters(self.top_k, self.top_p, self.min_p)


class Generator:
    """Generates text with one model.

    ```python
    generator = Generator.open("model.onnx")
    for character in generator.stream("When I drew nigh", length=500, seed=7):
        print(character, end="")
    ```

    Attributes:
        model: the open model; streams share it, each with a state of its own.
    """

    def __init__(self, model: Model) -> None:
        self.model = model

    @classmethod
    def open(
        cls, path: str | Path | None = None, provider: str = "auto", threads: int | None = None
    ) -> "Generator":
        """Open a model file; None opens `./model.onnx`, or else the model that ships.

        Raises:
            ModelFileError, ProviderError, MissingExtraError, SettingsError: see `open_model`.
        """
        chosen = default_model() if path is None else Path(path)
        return cls(open_model(chosen, provider, threads))

    @property
    def metadata(self) -> Metadata:
        """What the model file says of itself."""
        return self.model.metadata

    @property
    def vocabulary(self) -> Vocabulary:
        """The characters that the model knows."""
        return self.model.metadata.vocabulary

    def encode(self, prompt: str, unknown: Unknown = "error") -> Tokens:
        """Token ids of a prompt, normalised as the corpus was.

        Raises:
            VocabularyError: a character that the model does not know, also as `unknown`.
        """
        if unknown not in ("error", "drop"):
            self.vocabulary.id_of(unknown)
        return self.vocabulary.encode(self.metadata.normalisation(prompt), unknown)

    def normalised(self, prompt: str, unknown: Unknown = "error") -> str:
        """A prompt as the model reads it.

        Raises:
            VocabularyError: a character that the model does not know.
        """
        return self.vocabulary.decode(self.encode(prompt, unknown))

    def text(self, prompt: str = "", *, stream: int = 0, **settings: Any) -> str:
        """The text that `stream` yields, whole.

        Raises:
            SettingsError: a length of 0, which has no whole.
        """
        chosen = Settings(**settings)
        sampler.check_stream(stream)
        if chosen.length == 0:
            raise SettingsError("a text without end can't be returned whole: use stream()")
        return "".join(self._until_stop(self._stream(prompt, chosen, stream), chosen))

    def stream(self, prompt: str = "", *, stream: int = 0, **settings: Any) -> Iterator[str]:
        """Yield the characters after a prompt one by one, as they are drawn.

        Args:
            prompt: text to go on with; empty starts from a zero state and a character drawn
                from the training text's frequencies.
            stream: which of the seed's streams of random numbers, from 0; a sample's number.
            settings: fields of `Settings`. What may begin a stop string is yielded once it is
                certain that it does not.

        Raises:
            SettingsError: a setting out of range, or an empty stop string.
            VocabularyError: a character of the prompt, or of a stop string, that the model does
                not know.
            ModelFileError: while it runs: the model's weights are damaged.
        """
        chosen = Settings(**settings)
        sampler.check_stream(stream)
        return self._until_stop(self._stream(prompt, chosen, stream), chosen)

    def batch(
        self,
        requests: "Iterable[Request | BadLine]",
        *,
        width: int | None = None,
        ordered: bool = True,
        show_first: "Show | None" = None,
    ) -> "Iterator[Outcome]":
        """Yield the text of each of many requests, or why it has none (see `generate_batch`).

        Args:
            requests: any number; they are taken as they are needed.
            width: how many run side by side; None chooses by the device.
            ordered: yield in the order of the requests, or as they are finished.
            show_first: is handed the first request's prompt and pieces of its text as they come.

        Raises:
            SettingsError: a width that is out of range or does not fit into memory.
            ModelFileError: while it runs: the model's weights are damaged.
        """
        from charlm.infer.batch import generate_batch
        from charlm.infer.engine import StepEngine, StepReader
        from charlm.infer.width import checked_width

        return generate_batch(
            StepEngine(self.model),
            StepReader(self.model),
            self.metadata,
            requests,
            width=checked_width(width, self.model),
            ordered=ordered,
            show_first=show_first,
        )

    def texts(
        self, prompt: str = "", *, count: int = 1, **settings: Any
    ) -> Iterator[Iterable[str]]:
        """Yield `count` samples of a prompt, each as the characters after it.

        The first comes as it is drawn; the others are drawn beside it, and come once it is read.

        Raises:
            SettingsError, VocabularyError: as `stream`; without end there can be but one sample.
        """
        if count == 1:
            return iter([self.stream(prompt, **settings)])
        if Settings(**settings).length == 0:
            raise SettingsError("a text without end leaves no room for a second: give a --length")
        return self._texts(self.samples(prompt, count=count, **settings), count)

    def _texts(self, steps: Iterator[npt.NDArray[np.int64]], count: int) -> Iterator[Iterable[str]]:
        kind = np.dtype(self.vocabulary.dtype)
        held = bytearray()  # the smallest form of what is yet to be read, position by position
        drawn = (tokens.astype(kind).tobytes() for tokens in steps)

        def first() -> Iterator[str]:
            for position in itertools.count():
                if position * count * kind.itemsize == len(held):
                    held.extend(next(drawn, b""))
                start = position * count * kind.itemsize
                if start == len(held):
                    return
                token = int.from_bytes(held[start : start + kind.itemsize], sys.byteorder)
                yield self.vocabulary.characters[token]

        yield first()
        for rest in drawn:  # what was not read of the first yet
            held.extend(rest)
        for stream in np.frombuffer(held, dtype=kind).reshape(-1, count).T[1:]:
            yield self.vocabulary.decode(stream)

    def samples(
        self, prompt: str = "", *, count: int, **settings: Any
    ) -> Iterator[npt.NDArray[np.int64]]:
        """Draw `count` samples of a prompt side by side; sample s is stream s of the seed.

        Yields:
            The samples' next token ids, int64 [count], once for each position.

        Raises:
            SettingsError, VocabularyError: as `stream`; stop strings, which `batch` knows.
        """
        if not 1 <= count <= MAX_SAMPLES:
            raise SettingsError(f"--samples is from 1 to {MAX_SAMPLES}, not {count}")
        chosen = Settings(**settings)
        if chosen.stop != ():
            raise SettingsError("side by side only batch() ends texts at a stop string")
        return self._samples(self.encode(prompt, chosen.unknown), chosen, count)

    def _until_stop(self, text: Iterable[str], settings: Settings) -> Iterator[str]:
        if settings.stop == ():
            return iter(text)
        from charlm.infer import stops

        return stops.until(text, stops.normalised(settings.stop, self.metadata))

    def _stream(self, prompt: str, settings: Settings, stream: int) -> Iterator[str]:
        return self._drawn(self.encode(prompt, settings.unknown), settings, stream)

    def _drawn(self, prompt: Tokens, settings: Settings, stream: int) -> Iterator[str]:
        uniforms = _limited(sampler.uniforms(settings.seed, stream), settings.length)
        stepper = Stepper(self.model, batch=1)
        token, step = stepper.token, stepper.step
        characters = self.vocabulary.characters
        if len(prompt):
            self._read(stepper, prompt)
        else:
            initial = np.asarray(self.metadata.initial, dtype=np.float32)
            first = sampler.draw_initial(initial, next(uniforms), settings.temperature)
            yield characters[first]
            self._read(stepper, np.array([first]))
        check_finite(stepper.logits)
        draw = Sampler(stepper.logits, settings.temperature, settings.filters).draw_one
        for uniform in uniforms:
            drawn = draw(uniform)
            yield characters[drawn]
            token[0] = drawn
            step()

    def _samples(
        self, prompt: Tokens, settings: Settings, count: int
    ) -> Iterator[npt.NDArray[np.int64]]:
        streams = [UniformStream(settings.seed, number) for number in range(count)]
        uniforms = _limited(_positions(streams, settings.length), settings.length)
        stepper = Stepper(self.model, batch=count)
        if len(prompt):
            self._read_once(stepper, prompt)
        else:
            initial = np.asarray(self.metadata.initial, dtype=np.float32)
            first = [
                sampler.draw_initial(initial, uniform, settings.temperature)
                for uniform in next(uniforms)
            ]
            stepper.token[:] = first
            yield stepper.token.copy()
            stepper.step()
        check_finite(stepper.logits)
        draw = Sampler(stepper.logits, settings.temperature, settings.filters).draw
        for row in uniforms:
            stepper.token[:] = draw(row)
            yield stepper.token.copy()
            stepper.step()

    def _read(self, stepper: Stepper, tokens: Tokens) -> None:
        for token in tokens.tolist():
            stepper.token[0] = token
            stepper.step()

    def _read_once(self, stepper: Stepper, prompt: Tokens) -> None:
        """Read a prompt as one stream and give its state and logits to every stream."""
        reader = Stepper(self.model, batch=1)
        self._read(reader, prompt)
        h, c = reader.state()
        shape = (len(stepper.token), *h.shape[1:])
        stepper.set_state(np.broadcast_to(h, shape), np.broadcast_to(c, shape))
        stepper.logits[:] = reader.logits


def _positions(streams: list[UniformStream], length: int) -> Iterator[npt.NDArray[np.float32]]:
    """The streams' numbers position by position, float32 [streams], `length` or more."""
    block = min(length or POSITIONS, POSITIONS)
    while True:
        yield from take_block(streams, block).T


def _limited(values: Iterator[Any], length: int) -> Iterator[Any]:
    return itertools.islice(values, length) if length else values
