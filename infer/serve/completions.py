"""`POST /v1/completions`: what is wished, drawn, and given in OpenAI's form."""

import asyncio
import base64
import time
from dataclasses import replace
from functools import partial
from typing import Any

from charlm.infer.batch.results import Failure, Result
from charlm.infer.model.state import State
from charlm.infer.serve.answers import Outlet
from charlm.infer.serve.bodies import ApiError, CompletionBody, as_json
from charlm.infer.serve.drawing import StreamedText
from charlm.infer.serve.judging import LogprobReader
from charlm.infer.serve.service import ServedModel, Service
from charlm.infer.serve.settings import LONG_PROMPT
from charlm.infer.serve.wishes import Wish, read_body

Logprobs = dict[str, list[Any]]


class Completion:
    """One body on its way to its answer.

    Args:
        body: what is asked for.
        service: draws it.
        note: of the request: its id, when it came, and what is for the log.

    Attributes:
        wanted: until the client has left.
    """

    def __init__(self, body: CompletionBody, service: Service, note: dict[str, Any]) -> None:
        self.body, self.service, self._note = body, service, note
        self._news = asyncio.Event()
        self._head: dict[str, Any] = {}
        self._drawn: list[StreamedText] = []
        self.wanted = True

    async def write(self, outlet: Outlet) -> None:
        """Draw and send it.

        Raises:
            ApiError, CharlmError: it can't be had.
        """
        body, service = self.body, self.service
        body.check()
        model = service.model(body.model)
        prompts = body.prompts
        with service.admitted(model, len(prompts) * body.drawn, "n"):
            read = partial(read_body, body, model, service.limits)
            size = sum(map(len, prompts)) + len(body.state or "")
            wishes = await service.aside(read) if size > LONG_PROMPT else read()
            self._head = {
                "id": f"cmpl-{self._note['id']}",
                "object": "text_completion",
                "created": int(time.time()),
                "model": model.name,
                "system_fingerprint": model.generator.metadata.weights_sha256[:16],
                "seed": wishes[0].request.seed,
            }
            parts = [_Part(self, model, wish, place) for place, wish in enumerate(wishes)]
            read_characters = sum(len(each.prompt) for each in wishes[:: body.drawn])
            service.metrics.read.inc(read_characters)
            try:
                with service.judged(self._to_judge(wishes)):
                    await self._begin(parts)
                    if body.stream:
                        with service.streaming(len(parts)):
                            await self._stream(outlet, parts, read_characters)
                    else:
                        await self._whole(outlet, parts, read_characters)
            finally:
                self.wanted = False
                for text in self._drawn:
                    model.drawer.give_up(text)
                drawn = sum(text.size for text in self._drawn)
                service.metrics.drawn.inc(drawn)
                self._note.update(
                    model=model.name, texts=len(parts), prompt=read_characters, characters=drawn
                )

    def _to_judge(self, wishes: list[Wish]) -> int:
        """How many log-probabilities the answer has at most."""
        if self.body.logprobs is None:
            return 0
        echoed = sum(len(each.prompt) for each in wishes) if self.body.echo else 0
        return (echoed + sum(each.request.length for each in wishes)) * (self.body.logprobs + 1)

    async def _begin(self, parts: "list[_Part]") -> None:
        """Hand the texts to the drawer; prompts that are long are read aside, once for each."""
        known: dict[str, State] = {}
        for part in parts:
            wish, request = part.wish, part.wish.request
            if not request.length:
                continue
            if len(wish.prompt) > LONG_PROMPT:
                if request.prompt not in known:
                    known[request.prompt] = await part.after(wish.prompt, wish.before)
                part.primed = known[request.prompt]
                request = replace(request, prompt="", state=part.primed)
            part.drawing = StreamedText(request, self._news.set, bool(self.body.stream))
            self._drawn.append(part.drawing)
        for text in self._drawn:
            parts[0].model.drawer.submit(text)

    async def _whole(self, outlet: Outlet, parts: "list[_Part]", read: int) -> None:
        best = self.body.drawn > (self.body.n or 1)
        for part in parts:
            while not part.ended:
                self._news.clear()
                await self._news.wait()
        self._see_first()
        choices = [await part.choice(judged=best) for part in parts]
        if best:
            choices = self._best(parts, choices)
        usage = _usage(read, sum(text.size for text in self._drawn))
        await outlet.whole(as_json({**self._head, "choices": choices, "usage": usage}))

    def _best(self, parts: "list[_Part]", choices: list[dict[str, Any]]) -> list[dict[str, Any]]:
        """Of each prompt's texts those with the highest mean log-probability."""
        drawn, kept = self.body.drawn, []
        for start in range(0, len(parts), drawn):
            places = range(start, start + drawn)
            ranked = sorted(places, key=lambda place: -parts[place].mean)
            kept += [choices[place] for place in ranked[: self.body.n or 1]]
        return [{**each, "index": index} for index, each in enumerate(kept)]

    async def _stream(self, outlet: Outlet, parts: "list[_Part]", read: int) -> None:
        counted = self.body.stream_options is not None and self.body.stream_options.include_usage
        head = {**self._head, "usage": None} if counted else self._head
        opening = as_json({**head, "choices": []}).removesuffix(b"]}")
        left = list(parts)
        while left:
            self._news.clear()
            news = [each for part in left if (each := await part.news()) is not None]
            left = [part for part in left if not part.told]
            events = [opening + as_json(each) + b"]}" for each in news]
            if news:
                self._see_first()
            if not left:
                break
            if events:
                await outlet.events(*events)
                await asyncio.sleep(self.service.pace)
            await self._news.wait()
        if counted:
            usage = _usage(read, sum(text.size for text in self._drawn))
            events.append(as_json({**head, "choices": [], "usage": usage}))
        await outlet.events(*events, b"[DONE]", last=True)

    def _see_first(self) -> None:
        """Note once when the first character had come."""
        came = min((text.first for text in self._drawn if text.first), default=0.0)
        if came and "first" not in self._note:
            waited = came - self._note["arrived"]
            self._note["first"] = round(waited, 4)
            self.service.metrics.first.observe(waited)


class _Part:
    """One text of a completion."""

    def __init__(self, owner: Completion, model: ServedModel, wish: Wish, index: int) -> None:
        self._owner, self.model, self.wish, self._index = owner, model, wish, index
        self.drawing: StreamedText | None = None
        self.primed: State | None = None  # after the prompt, where that was read aside
        self._echo = wish.prompt if owner.body.echo else ""
        self._prompt_read = False
        self._judge: LogprobReader | None = None
        self._text: list[str] = []
        self.told = False

    @property
    def ended(self) -> bool:
        """Whether all of it has come; raises what has gone wrong."""
        if self.drawing is None:
            return True
        outcome = self.drawing.outcome
        if isinstance(outcome, Failure):
            raise outcome.error
        if isinstance(outcome, Exception):
            raise ApiError("drawing has failed; the server's log says more", 500) from outcome
        return outcome is not None

    @property
    def mean(self) -> float:
        """Of its log-probabilities."""
        return 0.0 if self._judge is None else self._judge.mean

    async def news(self) -> dict[str, Any] | None:
        """The choice of the next chunk; None where there is nothing new."""
        ended = self.ended  # asked first: what has come by then is told below
        text = self.drawing.take() if self.drawing else ""
        if not (text or ended or (self._echo and not self._prompt_read)):
            return None
        self.told = ended
        return await self._made(text, ended, judged=False)

    async def choice(self, judged: bool) -> dict[str, Any]:
        """All of it, once it has ended.

        Args:
            judged: its mean log-probability is wanted.
        """
        return await self._made(self.drawing.take() if self.drawing else "", True, judged)

    async def _made(self, text: str, ended: bool, judged: bool) -> dict[str, Any]:
        self._text.append(text)
        echo = "" if self._prompt_read else self._echo
        logprobs = None
        if self._owner.body.logprobs is not None or judged:
            logprobs = await self._owner.service.aside(partial(self._judged, text))
        self._prompt_read = True
        choice = {
            "index": self._index,
            "text": echo + text,
            "logprobs": logprobs if self._owner.body.logprobs is not None else None,
            "finish_reason": self._finish if ended else None,
        }
        if ended and self._owner.body.return_state:
            choice["state"] = await self._state()
        return choice

    @property
    def _finish(self) -> str:
        outcome = None if self.drawing is None else self.drawing.outcome
        return outcome.finish if isinstance(outcome, Result) else "length"

    def _judged(self, text: str) -> Logprobs:
        """Of the prompt too, where it is echoed, but once; of other text than is echoed nothing."""
        wish, generator = self.wish, self.model.generator
        if self._judge is None:
            before, offset = wish.before, 0
            if not self._echo and wish.prompt:
                tokens = generator.vocabulary.encode(wish.prompt)
                before = self.primed or generator.read_tokens(tokens, before)
                offset = len(wish.prompt)
            count, owner = self._owner.body.logprobs or 0, self._owner
            begun = wish.begun and bool(owner.body.echo)
            self._judge = LogprobReader(
                generator, before, count, offset, lambda: owner.wanted, begun
            )
        if self._prompt_read or not self._echo:
            return self._judge.read(text)
        found = self._judge.read(self._echo)
        self._judge.total, self._judge.judged = 0.0, 0  # the best of several is that drawn
        return {name: each + more for (name, each), more in zip(
            found.items(), self._judge.read(text).values(), strict=True)}  # fmt: skip

    async def after(self, text: str, before: State) -> State:
        """The state after a text as the model writes it."""
        generator = self.model.generator

        def read() -> State:
            return generator.read_tokens(generator.vocabulary.encode(text), before)

        return await self._owner.service.aside(read)

    async def _state(self) -> str:
        """After the text, in base64: with its seed it goes on as it would have."""
        wish, text = self.wish, "".join(self._text)
        if self.primed:
            found = await self.after(text, self.primed)
        else:
            found = await self.after(wish.prompt + text, wish.before)
        position = wish.before.position + len(text)
        request = wish.request
        found = replace(found, seed=request.seed, sample=request.sample, position=position)
        return base64.b64encode(found.to_bytes()).decode()


def _usage(prompt: int, drawn: int) -> dict[str, int]:
    return {"prompt_tokens": prompt, "completion_tokens": drawn, "total_tokens": prompt + drawn}
