"""`POST /v1/score`: bits per character of many texts."""

import math
from collections.abc import Iterator
from functools import partial
from typing import Any

from charlm.data.system.errors import CharlmError
from charlm.infer.scoring.many import Text, score_many
from charlm.infer.serve.answers import Outlet
from charlm.infer.serve.bodies import ApiError, ScoreBody, as_json, client_error
from charlm.infer.serve.service import ServedModel, Service

CHUNK = 1 << 16  # characters between two looks at whether the client is still there


class _Left(Exception):
    """The client has gone."""


class Scoring:
    """One body on its way to its answer.

    Args:
        body: what is asked for.
        service: scores it.
        note: of the request, for the log.
    """

    def __init__(self, body: ScoreBody, service: Service, note: dict[str, Any]) -> None:
        self._body, self._service, self._note = body, service, note
        self._left = False

    async def write(self, outlet: Outlet) -> None:
        """Score and send it.

        Raises:
            ApiError: nothing to score, or a single text that can't be.
        """
        given = self._body.input
        texts = [given] if isinstance(given, str) else given
        if not texts:
            raise ApiError("input holds no text", param="input")
        model = self._service.model(self._body.model)
        with self._service.admitted(model, len(texts), "input"):
            try:
                found = await self._service.aside(partial(self._scored, model, texts))
            finally:
                self._left = True
            if isinstance(given, str) and "error" in found[0]:
                raise ApiError(found[0]["error"]["message"], param="input")
            characters = sum(each.get("characters", 0) for each in found)
            self._service.metrics.scored.inc(characters)
            self._note.update(model=model.name, texts=len(texts), characters=characters)
            usage = {"prompt_tokens": characters, "total_tokens": characters}
            answer = {"object": "list", "model": model.name, "data": found, "usage": usage}
            await outlet.whole(as_json(answer))

    def _scored(self, model: ServedModel, texts: list[str]) -> list[dict[str, Any]]:
        named = [Text(f"text {place}", self._chunks(text)) for place, text in enumerate(texts)]
        found: list[dict[str, Any]] = [{} for _ in texts]
        unknown = self._body.unknown or self._service.limits.unknown
        try:
            for scored in score_many(model.generator.model, named, unknown=unknown):
                found[scored.index] = {
                    "object": "score", "index": scored.index, **_fields(scored.result)
                }  # fmt: skip
        except _Left:
            return []
        return found

    def _chunks(self, text: str) -> Iterator[str]:
        for start in range(0, len(text), CHUNK):
            if self._left:
                raise _Left
            yield text[start : start + CHUNK]


def _fields(result: Any) -> dict[str, Any]:
    if isinstance(result, CharlmError):
        return {"error": {"message": str(client_error(result))}}
    fields: dict[str, Any] = result.fields()
    return {name: value if math.isfinite(value) else None for name, value in fields.items()}
