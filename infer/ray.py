"""Bulk generation and scoring on the machines of a Ray cluster, with Ray Data; the extra `ray`.

```python
import ray
from charlm.infer.ray import Cluster

prompts = ray.data.from_items([{"prompt": "the door ", "sample": n} for n in range(1000)])
cluster = Cluster("lovecraft")
texts = cluster.generate(prompts, seed=1)  # a Dataset: the same rows, with their texts
bits = cluster.score(texts)
```

Each actor has the model open, on a core or a GPU of its own; charlm is installed wherever one runs.
An actor that dies is started again, and what it had in hand is drawn again: to the same texts.
"""

import contextlib
import logging
import os
import pickle
import socket
import tempfile
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any, NamedTuple, Unpack

from charlm.data.system.errors import CharlmError, ProviderError, RequestError, SettingsError
from charlm.data.system.extras import require, require_there
from charlm.data.text.normalise import with_lf
from charlm.data.text.vocabulary import Unknown
from charlm.export.contract import GENERATE, SEQUENCE, read_model_bytes, sibling_path
from charlm.infer.batch.prompt_file import KEYS, BadLine, request_of
from charlm.infer.batch.results import Failure, Outcome, in_order
from charlm.infer.engines.planning import Work
from charlm.infer.generator import MANY, Generator
from charlm.infer.model.providers import ONLY_ON, PROVIDERS, check_precision
from charlm.infer.model.shipped import find_model
from charlm.infer.request import Request, Settings

SHARES = 4  # of an actor, at least: what one that dies had in hand is drawn again
MOST_ROWS = 1024  # of a share: four batches of a core
LOCAL = "local"
REACHED_SECONDS = 10
# What rows gain, and its types in Arrow.
TEXTS = {"text": "string", "finish": "string", "characters": "int64", "seed": "uint64",
         "sample": "uint64", "error": "string"}  # fmt: skip
BITS = {"bits_per_character": "float64", "characters": "int64", "error": "string"}


@contextlib.contextmanager
def connected(address: str) -> Iterator[None]:
    """A Ray cluster for the block; the one that this process is connected to, if it is.

    Args:
        address: `local` starts one on this machine; `auto` finds one; or `ray://HOST:PORT`.

    Raises:
        ProviderError: there is none.
        MissingExtraError: Ray is not installed.
    """
    require_there("ray", "pyarrow")
    # Neither reports of use nor warnings of Ray's own, unless the user's environment says so.
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    os.environ.setdefault("RAY_BACKEND_LOG_LEVEL", "fatal")
    ray = require("ray", "ray")
    begun = not ray.is_initialized()
    if begun:
        _check_reachable(address)
        alone = {"include_dashboard": False} if address == LOCAL else {}
        try:
            ray.init(address, log_to_driver=False, logging_level=logging.ERROR, **alone)
        except Exception as problem:  # of many kinds
            reason = str(problem).strip().partition("\n")[0]
            raise ProviderError(f"no Ray cluster at `ray` {address}: {reason}") from problem
    try:
        yield
    finally:
        if begun:
            ray.shutdown()


def _check_reachable(address: str) -> None:
    """See that somebody listens there: Ray itself asks for minutes, and says so in many lines."""
    host, colon, port = address.removeprefix("ray://").rpartition(":")
    if not (colon and port.isdigit()):  # `local`, `auto`, or what Ray alone understands
        return
    try:
        socket.create_connection((host.strip("[]"), int(port)), REACHED_SECONDS).close()
    except (OSError, OverflowError) as problem:
        raise ProviderError(f"no Ray cluster at `ray` {address}: {problem}") from problem


@dataclass(frozen=True)
class Cluster:
    """A model, open on the machines of the Ray cluster that this process is connected to.

    Args:
        model: a file, or the name of one that ships; None as `Generator.open` has it. Its bytes go
            to the actors, which need no disk of this machine.
        actors: how many at most; None: one for each GPU, or where there is none for each core.
        provider: `auto` takes the GPUs of a cluster that has some; `cpu`, `cuda`.
        threads: cores of each actor.
        precision: of the products.

    Raises:
        SettingsError: a setting out of range, or two that contradict each other.
    """

    model: str | Path | None = None
    actors: int | None = None
    provider: str = "auto"
    threads: int = 1
    precision: str = "float32"

    def __post_init__(self) -> None:
        check_precision(self.precision, self.provider)
        if self.provider not in PROVIDERS:
            raise SettingsError(
                f"`provider` is one of {', '.join(PROVIDERS)}, not {self.provider!r}"
            )
        for name, count in (("actors", self.actors), ("threads", self.threads)):
            if count is not None and count < 1:
                raise SettingsError(f"`{name}` is 1 or more, not {count}")

    def generate(self, dataset: Any, **settings: Unpack[Settings]) -> Any:
        """The rows of a `ray.data.Dataset` with the texts that they ask for.

        Of a row are read `prompt` and, where it has them, `length`, `temperature`, `seed`,
        `sample`, `stop`, `top_k`, `top_p` and `min_p`, as of a line of `charlm-gen --prompts`. It
        has a `seed` or a `sample` of its own: rows have no numbers. Its other columns stay.

        Args:
            dataset: of prompts.
            settings: what the rows don't say; see `Request`. A seed that is not given is drawn.

        Returns:
            A Dataset of the same rows, each with `text` and `finish` (`length` or `stop`) or with
            `error`, and with `characters`, `seed` and `sample`: of a row without a text its own.

        Raises:
            SettingsError: a setting out of range.
            ProviderError: the cluster has no GPU, and one is asked for.
        """
        return self._mapped(dataset, _TextsOfRows, Request(**settings))

    def score(self, dataset: Any, column: str = "text", unknown: Unknown | None = None) -> Any:
        """The rows of a `ray.data.Dataset` with the bits per character of their texts.

        Args:
            dataset: of texts.
            column: that holds them.
            unknown: what becomes of characters that the model does not know.

        Returns:
            A Dataset of the same rows, each with `bits_per_character` and `characters` or with
            `error`.

        Raises:
            ProviderError: the cluster has no GPU, and one is asked for.
        """
        return self._mapped(dataset, _BitsOfRows, column, unknown)

    def batch(
        self,
        requests: Iterable[Request | BadLine],
        *,
        width: int | None = None,
        ordered: bool = True,
        work: Work = MANY,
    ) -> Iterator[Outcome]:
        """Yield the text of each of many requests, as `Generator.batch` does; all are read first.

        Args:
            requests: any number that memory holds.
            width: how many run side by side in an actor.
            ordered: yield in the order of the requests, or as they are finished.
            work: what is known of them.

        Raises:
            CharlmError: of an actor, as `Generator.batch` raises it.
            ProviderError: the cluster can't go on.
        """
        ray, asked = require("ray", "ray"), [pickle.dumps(each) for each in requests]
        if not asked:
            return
        context = require("ray.data", "ray").DataContext.get_current()
        context.enable_progress_bars = context.print_on_execution_start = False
        logging.getLogger("ray.data").setLevel(logging.ERROR)
        rows = max(1, min(MOST_ROWS, len(asked) // (SHARES * self._count)))
        dataset = ray.data.from_items(
            [{"index": index, "asked": each} for index, each in enumerate(asked)],
            override_num_blocks=-(-len(asked) // rows),
        )
        outcomes = _outcomes(self._mapped(dataset, _Outcomes, width, work))
        yield from in_order(outcomes) if ordered else outcomes

    def _mapped(self, dataset: Any, actor: type, *given: object) -> Any:
        ray, device = require("ray", "ray"), "cuda" if self._gpus else "cpu"
        path = find_model(None if self.model is None else Path(self.model))
        beside = (sibling_path(path, kind) for kind in (GENERATE, SEQUENCE))
        files = {
            each.name: read_model_bytes(each)
            for each in (path, *beside)
            if each == path or each.is_file()
        }
        opening = _Opening(path.name, [ray.put(files)], device, self.threads, self.precision)
        return dataset.map_batches(
            actor,
            batch_format="pyarrow",
            batch_size=None,
            compute=ray.data.ActorPoolStrategy(min_size=1, max_size=self._count),
            num_cpus=self.threads,
            num_gpus=1 if self._gpus else None,
            fn_constructor_args=(opening, *given),
        )

    @cached_property
    def _gpus(self) -> int:
        """Of the cluster, if they are to be used."""
        if "cpu" in (self.provider, ONLY_ON.get(self.precision)):
            return 0
        found = int(require("ray", "ray").cluster_resources().get("GPU", 0))
        if not found and "cuda" in (self.provider, ONLY_ON.get(self.precision)):
            raise ProviderError("the Ray cluster has no GPU: use `provider` cpu, float32 or int8")
        return found

    @property
    def _count(self) -> int:
        cores = int(require("ray", "ray").cluster_resources().get("CPU", 1))
        return self.actors or self._gpus or max(1, cores // self.threads)


class _Opening(NamedTuple):
    """How an actor opens the model."""

    name: str
    files: list[Any]  # a single reference to their bytes by name, which Ray leaves one in a list
    device: str
    threads: int
    precision: str


class _Actor:
    """The model, open in an actor; its siblings are read when they are wanted."""

    def __init__(self, opening: _Opening) -> None:
        self._folder = tempfile.TemporaryDirectory(prefix="charlm-")
        path = Path(self._folder.name, opening.name)
        for name, content in require("ray", "ray").get(opening.files[0]).items():
            path.with_name(name).write_bytes(content)
        how = opening.device, opening.threads, opening.precision
        self.generator, self.opening = Generator.open(path, *how, work=MANY), opening


class _Outcomes(_Actor):
    """Draws requests."""

    def __init__(self, opening: _Opening, width: int | None, work: Work) -> None:
        super().__init__(opening)
        self._width, self._work = width, work

    def __call__(self, table: Any) -> Any:
        asked = [pickle.loads(each) for each in table["asked"].to_pylist()]
        drawn: list[Outcome | CharlmError]
        try:
            drawn = list(self.generator.batch(asked, width=self._width, work=self._work))
        except CharlmError as problem:  # of all: Ray would hand on its words alone
            drawn = [problem] * len(asked)
        rows = [{"outcome": pickle.dumps(each)} for each in drawn]
        return _with(table, {"outcome": "binary"}, rows)


class _TextsOfRows(_Actor):
    """Draws what rows ask for."""

    def __init__(self, opening: _Opening, defaults: Request) -> None:
        super().__init__(opening)
        self._defaults = defaults

    def __call__(self, table: Any) -> Any:
        known = table.select([name for name in KEYS if name in table.column_names])
        rows = known.to_pylist() or [{}] * len(table)
        work = Work(None, window=self._defaults.window)
        outcomes = self.generator.batch(map(self._request, rows), work=work)
        return _with(table, TEXTS, map(_described, outcomes, rows))

    def _request(self, row: dict[str, Any]) -> Request | BadLine:
        try:
            if row.get("seed") is None and row.get("sample") is None:
                raise RequestError("neither a seed nor a sample: the row's random numbers")
            return request_of(row, self._defaults)
        except CharlmError as problem:
            return BadLine(0, problem)


class _BitsOfRows(_Actor):
    """Scores the texts of rows."""

    def __init__(self, opening: _Opening, column: str, unknown: Unknown | None) -> None:
        super().__init__(opening)
        self._column, self._unknown = column, unknown

    def __call__(self, table: Any) -> Any:
        from charlm.infer.scoring.many import Text, score_many

        texts = dict(enumerate(table[self._column].to_pylist()))
        there = [place for place, text in texts.items() if isinstance(text, str)]
        rows: list[dict[str, Any]] = [
            {"error": "no text" if text is None else f"not text: {text!r:.60}"}
            for text in texts.values()
        ]
        for scored in score_many(
            self.generator.model,
            (Text(f"the text in {self._column}", [with_lf(texts[place])]) for place in there),
            unknown=self._unknown,
            precision=self.opening.precision,
            workers=self.opening.threads,
        ):
            result = scored.result
            rows[there[scored.index]] = (
                {"error": str(result)} if isinstance(result, CharlmError) else result.fields()
            )
        return _with(table, BITS, rows)


def _described(outcome: Outcome, row: dict[str, Any]) -> dict[str, Any]:
    if isinstance(outcome, Failure):
        own = {
            name: each
            for name in ("seed", "sample")
            if type(each := row.get(name)) is int and 0 <= each < 1 << 64
        }
        return {"error": str(outcome.error), **own}
    asked = outcome.request
    return {
        "text": outcome.text,
        "finish": outcome.finish,
        "characters": outcome.characters,
        "seed": asked.seed,
        "sample": asked.sample,
    }


def _with(table: Any, kinds: dict[str, str], rows: Iterable[dict[str, Any]]) -> Any:
    """An Arrow table with further columns of those types; one of the same name gives way."""
    arrow, rows = require("pyarrow", "ray"), list(rows)
    for name, kind in kinds.items():
        array = arrow.array([row.get(name) for row in rows], kind)
        place = table.schema.get_field_index(name)
        if place < 0:
            table = table.append_column(name, array)
        else:
            table = table.set_column(place, name, array)
    return table


def _outcomes(drawn: Any) -> Iterator[Outcome]:
    """What the actors drew, each in its place among the requests.

    Raises:
        CharlmError: as it was raised in an actor.
        ProviderError: the cluster can't go on.
    """
    try:
        for row in drawn.iter_rows():
            found = pickle.loads(row["outcome"])
            if isinstance(found, CharlmError):
                raise found
            yield replace(found, index=row["index"])
    except require("ray.exceptions", "ray").RayError as problem:
        reason = str(problem).strip().rpartition("\n")[2]
        raise ProviderError(f"the Ray cluster can't go on: {reason}") from problem
