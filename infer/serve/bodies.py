"""What clients send and get: OpenAI's completions, models and errors, and our scores."""

import json
from collections.abc import Mapping, Sequence
from typing import Annotated, Any

from pydantic import AfterValidator, BaseModel, ConfigDict, Field
from pydantic_core import PydanticSerializationError, to_json

from charlm.data.system.errors import CharlmError
from charlm.data.text.normalise import with_lf
from charlm.infer.request import MAX_SEED
from charlm.infer.serve.settings import MOST_LOGPROBS, MOST_STOP, MOST_STOPS

STRICT = ConfigDict(extra="forbid", strict=True, allow_inf_nan=False)
SEVERAL = {  # fields of several types
    "prompt": "a text, a list of texts, or token ids",
    "input": "a text or a list of texts",
    "stop": "a text or a list of texts",
}
Lines = AfterValidator(with_lf)  # end as in a corpus
Text = Annotated[str, Lines]
Stop = Annotated[str, Field(min_length=1, max_length=MOST_STOP), Lines]
UnknownField = Annotated[
    str | None,
    Field(
        description="Ours, of characters that the model lacks: error, drop, or one to put there."
    ),
]
Ids = list[Annotated[int, Field(ge=0)]]
PromptIds = list[Annotated[int, Field(ge=0)] | None]


class ApiError(Exception):
    """An answer that is an error, in OpenAI's form.

    Args:
        message: what, and how to mend it.
        status: of HTTP.
        param: the field that it is about.
        code: a word for programs.
        headers: further ones.
    """

    def __init__(
        self,
        message: str,
        status: int = 400,
        param: str | None = None,
        code: str | None = None,
        headers: dict[str, str] | None = None,
    ) -> None:
        super().__init__(message)
        self.status, self.param, self.code, self.headers = status, param, code, headers or {}

    def body(self) -> bytes:
        """OpenAI's error object."""
        kind = "server_error" if self.status >= 500 else "invalid_request_error"
        if self.status == 401:
            kind = "authentication_error"
        if self.status == 429:
            kind = "rate_limit_error"
        error = {"message": str(self), "type": kind, "param": self.param, "code": self.code}
        return as_json({"error": error})


def client_error(problem: CharlmError, param: str | None = None) -> ApiError:
    """A mistake of a client, with settings as a body has them.

    Args:
        param: the field that it is about.
    """
    said = str(problem).replace("`unknown` drop", '"unknown": "drop"')
    return ApiError(said.replace("`", ""), param=param)


def as_json(value: Any) -> bytes:
    """JSON in UTF-8; half a character, which JSON can name and UTF-8 can't hold, becomes `?`."""
    try:
        return to_json(value)
    except PydanticSerializationError:
        return json.dumps(value, ensure_ascii=False).encode("utf-8", "replace")


def field_error(errors: Sequence[Mapping[str, Any]]) -> ApiError:
    """What pydantic says of a body, as clients are told it.

    Args:
        errors: pydantic's, at least one.
    """
    first = errors[0]
    named = [str(each) for each in first["loc"] if each != "body"][:1]
    field = named[0] if named and first["type"] != "json_invalid" else None
    if first["type"].endswith("_type"):  # of a field of several types the nearest says most
        near = (each for each in errors if field in each["loc"])
        first = next((each for each in near if not each["type"].endswith("_type")), first)
    said = str(first["msg"])
    if field is None and first["type"] != "json_invalid":
        said = "the body is a JSON object, sent with Content-Type: application/json"
    elif first["type"] == "extra_forbidden":
        said = "there is no such field"
    elif field in SEVERAL and first["type"].endswith("_type"):
        said = SEVERAL[field]
    elif first["type"] == "json_invalid":
        said = f"the body is not JSON: {first.get('ctx', {}).get('error', '')}"
    message = f"{field[:100]}: {said}" if field else said
    return ApiError(message, param=field and field[:100])


class StreamOptions(BaseModel):
    """OpenAI's."""

    model_config = STRICT
    include_usage: bool | None = None
    include_obfuscation: Annotated[bool | None, Field(description="Only false: we add none.")] = (
        None
    )


class CompletionBody(BaseModel):
    """OpenAI's body of `POST /v1/completions`. A token is a character."""

    model_config = STRICT
    model: Annotated[str | None, Field(description="One of /v1/models; the first if left out.")] = (
        None
    )
    prompt: Annotated[
        Text | list[Text] | PromptIds | list[PromptIds] | None,
        Field(
            description="A text or several, as characters or as ids of the model's vocabulary; "
            "null before ids has the first character judged, too."
        ),
    ] = None
    max_tokens: Annotated[int | None, Field(ge=0)] = None
    temperature: Annotated[float | None, Field(ge=0)] = None
    top_p: Annotated[float | None, Field(ge=0, le=1)] = None
    top_k: Annotated[int | None, Field(ge=0, description="Ours; 0 is off.")] = None
    min_p: Annotated[float | None, Field(ge=0, le=1, description="Ours; 0 is off.")] = None
    n: Annotated[int | None, Field(ge=1)] = None
    best_of: Annotated[int | None, Field(ge=1)] = None
    stop: Annotated[
        Stop | Annotated[list[Stop], Field(max_length=MOST_STOPS)] | None,
        Field(description="The text ends before the first of them."),
    ] = None
    seed: Annotated[
        int | None,
        Field(ge=0, le=MAX_SEED, description="Gives the text of `charlm gen`; text i is sample i."),
    ] = None
    stream: bool | None = None
    stream_options: StreamOptions | None = None
    echo: bool | None = None
    logprobs: Annotated[int | None, Field(ge=0, le=MOST_LOGPROBS)] = None
    user: Annotated[str | None, Field(description="Read by nobody.")] = None
    state: Annotated[
        str | None, Field(description="Ours: go on from what `return_state` gave, in base64.")
    ] = None
    return_state: Annotated[bool | None, Field(description="Ours: the state after each text.")] = (
        None
    )
    unknown: UnknownField = None
    frequency_penalty: Annotated[float | None, Field(description="Only 0.")] = None
    presence_penalty: Annotated[float | None, Field(description="Only 0.")] = None
    logit_bias: Annotated[dict[str, float] | None, Field(description="Only empty.")] = None
    suffix: Annotated[str | None, Field(description="Only empty: the model reads forward.")] = None

    def check(self) -> None:
        """Refuse what is not served, and what contradicts itself.

        Raises:
            ApiError: naming the field.
        """
        for name in ("frequency_penalty", "presence_penalty", "logit_bias", "suffix"):
            if getattr(self, name):
                raise ApiError(f"{name} is not supported: leave it out", param=name)
        if self.stream_options is not None and not self.stream:
            raise ApiError("stream_options goes with stream", param="stream_options")
        if self.stream_options and self.stream_options.include_obfuscation:
            raise ApiError("include_obfuscation is not supported", param="stream_options")
        if self.best_of is not None and self.best_of < (self.n or 1):
            raise ApiError("best_of is n or more", param="best_of")
        if self.stream and self.best_of is not None and self.best_of > (self.n or 1):
            raise ApiError("the best of several can't be streamed", param="best_of")

    @property
    def drawn(self) -> int:
        """Texts that are drawn of each prompt."""
        return self.best_of or self.n or 1

    @property
    def prompts(self) -> Sequence[str | list[int | None]]:
        """At least one.

        Raises:
            ApiError: none, or too few characters in a list of ids.
        """
        prompt = "" if self.prompt is None else self.prompt
        if prompt == []:
            raise ApiError("prompt holds no prompt", param="prompt")
        if isinstance(prompt, str):
            return [prompt]
        if isinstance(prompt[0], str | list):
            return prompt
        return [prompt]


class ScoreBody(BaseModel):
    """Texts to be scored."""

    model_config = STRICT
    model: str | None = None
    unknown: UnknownField = None
    input: Annotated[Text | list[Text], Field(description="A text or several.")]


class TokenizeBody(BaseModel):
    """A text whose token ids are wanted, as vLLM has it."""

    model_config = STRICT
    model: str | None = None
    prompt: Text
    add_special_tokens: Annotated[bool | None, Field(description="There are none.")] = None


class DetokenizeBody(BaseModel):
    """Token ids whose text is wanted, as vLLM has it."""

    model_config = STRICT
    model: str | None = None
    tokens: Ids
