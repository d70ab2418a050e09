"""The application: which address leads where."""

import contextlib
from collections.abc import AsyncIterator
from functools import partial
from typing import Any

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import Response
from starlette.exceptions import HTTPException
from starlette.staticfiles import StaticFiles

from charlm.data.system.errors import CharlmError
from charlm.data.system.package import version
from charlm.export.contract import PLAYGROUND
from charlm.infer.serve.answers import LongAnswer
from charlm.infer.serve.bodies import (
    ApiError,
    CompletionBody,
    DetokenizeBody,
    ScoreBody,
    TokenizeBody,
    as_json,
    client_error,
    field_error,
)
from charlm.infer.serve.completions import Completion
from charlm.infer.serve.http import pages
from charlm.infer.serve.http.direct import Direct
from charlm.infer.serve.http.guard import Guard
from charlm.infer.serve.scores import Scoring
from charlm.infer.serve.service import Service
from charlm.infer.serve.wishes import text_of

ERRORS: dict[int | str, dict[str, Any]] = {
    code: {"description": what, "content": {"application/json": {"schema": {"type": "object"}}}}
    for code, what in {
        400: "What is wrong, and with which field.", 401: "The key is missing or another.",
        403: "A host that is not served.", 404: "No such model.", 408: "The body came too slowly.",
        413: "The body is too large.", 422: "Never: such an error is a 400.",
        429: "The server is full: Retry-After says when to come again.",
        500: "The server has failed.", 503: "The server is ending.", 504: "It took too long.",
    }.items()
}  # fmt: skip
COMPLETIONS = "/v1/completions"
NOTHING = "there is nothing at this address; /docs lists what there is"
NOT_SERVED = ("chat/completions", "responses", "embeddings", "edits", "audio/speech",
              "images/generations", "moderations")  # fmt: skip


def make_app(service: Service) -> Guard:
    """The application of a service, guarded."""

    @contextlib.asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        with service.running():
            yield

    app = FastAPI(
        title="charlm", version=version(), lifespan=lifespan, docs_url=None, redoc_url=None,
        responses=ERRORS, description="OpenAI's completions by a character-level LSTM; a token is "
        "a character.",
    )  # fmt: skip
    _add_errors(app)
    _add_models(app, service)
    _add_about(app, service)
    _add_elsewhere(app)
    app.get("/", include_in_schema=False)(pages.playground)
    app.get("/docs", include_in_schema=False)(lambda: pages.reference(app.openapi()))
    app.mount("/static", pages.Quiet(StaticFiles(directory=PLAYGROUND)))
    completions = partial(_completion, service)
    return Guard(Direct(app, COMPLETIONS, CompletionBody, completions), service)


def _completion(service: Service, body: CompletionBody, note: dict[str, Any]) -> LongAnswer:
    return LongAnswer(Completion(body, service, note).write, service.limits.seconds)


def _add_errors(app: FastAPI) -> None:
    """All errors in OpenAI's form."""

    async def told(_: Request, problem: Exception) -> Response:
        if isinstance(problem, RequestValidationError):
            problem = field_error(problem.errors())
        elif isinstance(problem, HTTPException):
            said = dict(problem.headers or {})
            detail = NOTHING if problem.status_code == 404 else str(problem.detail)
            problem = ApiError(detail, problem.status_code, headers=said)
        if not isinstance(problem, ApiError):
            raise problem
        return Response(problem.body(), problem.status, problem.headers, "application/json")

    for kind in (RequestValidationError, HTTPException, ApiError):
        app.exception_handler(kind)(told)


def _add_models(app: FastAPI, service: Service) -> None:
    """What models do."""

    @app.post(COMPLETIONS, response_class=Response)
    async def completions(body: CompletionBody, request: Request) -> Response:
        """OpenAI's completions; `state` and `return_state` carry a text from request to request."""
        return _completion(service, body, request.scope["charlm"])

    @app.post("/v1/score", response_class=Response)
    async def score(body: ScoreBody, request: Request) -> Response:
        """Bits per character of texts; one that can't be scored has an `error` in its place."""
        return LongAnswer(Scoring(body, service, request.scope["charlm"]).write,
                          service.limits.seconds)  # fmt: skip

    @app.post("/tokenize", response_class=Response)
    async def tokenize(body: TokenizeBody) -> Response:
        """Token ids of a text: the places of its characters in the model's vocabulary."""
        generator = service.model(body.model).generator
        tokens = await service.aside(lambda: _encoded(generator, body.prompt, service))
        return _json({"tokens": tokens, "count": len(tokens)})

    @app.post("/detokenize", response_class=Response)
    async def detokenize(body: DetokenizeBody) -> Response:
        """The text of token ids."""
        generator = service.model(body.model).generator
        return _json({"prompt": text_of(body.tokens, generator, "tokens")})


def _encoded(generator: Any, prompt: str, service: Service) -> list[int]:
    try:
        ids: list[int] = generator.encode(prompt, service.limits.unknown).tolist()
    except CharlmError as problem:
        raise client_error(problem, "prompt") from problem
    return ids


def _add_about(app: FastAPI, service: Service) -> None:
    """What the server says of itself."""

    @app.get("/v1/models", response_class=Response)
    async def models() -> Response:
        """The models that are served."""
        return _json({"object": "list", "data": [_model(service, each) for each in service.names]})

    @app.get("/v1/models/{name}", response_class=Response)
    async def model(name: str) -> Response:
        """One of them."""
        return _json(_model(service, service.model(name).name))

    @app.get("/tokenizer_info", response_class=Response)
    async def tokenizer_info() -> Response:
        """That a token is a character, and none is special; lm-eval asks for it."""
        return _json({"tokenizer_class": "characters", "eos_token": None, "bos_token": None})

    @app.get("/health", response_class=Response)
    async def health() -> Response:
        """200, or 503 once the server is told to end."""
        said = "draining" if service.draining else "ok"
        return _json({"status": said}, 503 if service.draining else 200)

    @app.get("/metrics", response_class=Response)
    async def metrics() -> Response:
        """Figures for Prometheus."""
        service.measure()
        return Response(service.metrics.text(), media_type="text/plain; version=0.0.4")


def _add_elsewhere(app: FastAPI) -> None:
    """What OpenAI's API has beside it."""

    async def elsewhere(request: Request) -> Response:
        raise ApiError(
            f"{request.url.path} is not served: the model goes on with text; use {COMPLETIONS}",
            code="unsupported",
        )

    for path in NOT_SERVED:
        app.add_route(f"/v1/{path}", elsewhere, ["GET", "POST"], include_in_schema=False)


def _model(service: Service, name: str) -> dict[str, Any]:
    metadata = service.model(name).generator.metadata
    return {
        "id": name, "object": "model", "created": 0, "owned_by": "charlm",
        "vocabulary": len(metadata.vocabulary), "weights_sha256": metadata.weights_sha256,
    }  # fmt: skip


def _json(value: Any, status: int = 200) -> Response:
    return Response(as_json(value), status, media_type="application/json")
