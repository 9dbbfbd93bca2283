"""Answers to chat and completion requests: profiles, several samples, votes, one more try after a crash."""

from __future__ import annotations

import asyncio
import secrets
import time
from collections.abc import AsyncGenerator
from contextlib import aclosing
from typing import TYPE_CHECKING, Any, NamedTuple

import msgspec

from logllm.errors import ConfigError
from logllm.explain.model.sampling import PROFILES, Profile, named_profile, vote
from logllm.web.llm.asked import ChatRequest, CompletionRequest, Refusal
from logllm.web.llm.upstream import BrokenError

if TYPE_CHECKING:
    from logllm.explain.model.config import LlmConfig
    from logllm.web.llm.figures import Figures
    from logllm.web.llm.upstream import Upstream

__all__ = ["Answering", "Whole"]

_SEEDS = 2**32
# Of a request, what a profile has an answer for.
_SAMPLING = ("temperature", "top_p", "top_k", "min_p", "presence_penalty", "frequency_penalty", "repeat_penalty")
_PASSED = ("stop", "grammar", "response_format", "logprobs", "top_logprobs", "max_tokens", "max_completion_tokens")


class Whole(NamedTuple):
    """An answer that is complete, and headers that tell of it."""

    body: dict[str, Any]
    headers: tuple[tuple[str, str], ...]


class _Plan(NamedTuple):
    path: str
    body: dict[str, Any]
    seeds: list[int]
    votes: bool
    schema: dict[str, Any] | None
    caller: str
    ends: float
    include_usage: bool


class Answering:
    """Asks `upstream` as a request and its profile want it.

    Args:
        name: The model's, as clients see it.
        local: The model is ours: it knows sampling parameters that are not in the OpenAI API.
    """

    def __init__(self, upstream: Upstream, name: str, config: LlmConfig, figures: Figures, *, local: bool) -> None:
        self.name = name
        self._upstream = upstream
        self._config = config
        self._figures = figures
        self._local = local
        named_profile(config.profile, config.profiles)

    def models(self) -> list[str]:
        """The model, and the model by each profile."""
        return [self.name, *(f"{self.name}:{profile}" for profile in {**PROFILES, **self._config.profiles})]

    async def whole(self, asked: ChatRequest | CompletionRequest, caller: str) -> Whole:
        """The answer as one object. Raises Refusal."""
        plan = self._plan(asked, caller)
        # No more at once than there are workers: the rest would take the places of others.
        turn = asyncio.Semaphore(self._config.workers)

        async def one(seed: int) -> tuple[dict[str, Any], str]:
            async with turn:
                return await self._once(plan, seed)

        try:
            async with asyncio.TaskGroup() as group:
                tasks = [group.create_task(one(seed)) for seed in plan.seeds]
        except ExceptionGroup as failures:
            raise failures.exceptions[0] from None
        found = [task.result() for task in tasks]
        made = found[0][0]
        choices = [body["choices"][0] if body["choices"] else {} for body, _ in found]
        usage = _sum([body.get("usage") for body, _ in found])
        self._figures.spent(usage)
        headers = [("X-Dropped-Messages", found[0][1])] if found[0][1] else []
        body = {**made, "id": _id(plan), "model": self.name, "usage": usage}
        if plan.votes:
            result = vote([_text(choice) for choice in choices], plan.schema)
            body["vote"] = {"samples": len(choices), "agreement": result.agreement, "counts": result.counts}
            headers.append(("X-Vote-Agreement", f"{result.agreement:.2f}"))
            choices = [choices[result.chosen]]
        body["choices"] = [{**choice, "index": place} for place, choice in enumerate(choices)]
        return Whole(body, tuple(headers))

    async def stream(self, asked: ChatRequest | CompletionRequest, caller: str) -> AsyncGenerator[dict[str, Any], None]:
        """The answer's chunks; the first may hold `headers` alone. Several choices come one after the other.

        Raises:
            Refusal: before the first chunk, or after it as what the client is told in the stream.
        """
        plan = self._plan(asked, caller)
        if plan.votes:
            # A vote is only known when all have been heard.
            whole = await self.whole(asked, caller)
            for chunk in _chunks(whole.body, plan):
                yield chunk
            return
        usages: list[Any] = []
        made = {"id": _id(plan), "created": int(time.time()), "model": self.name}
        for place, seed in enumerate(plan.seeds):
            async with aclosing(self._streamed(plan, seed)) as chunks:
                async for chunk in chunks:
                    usages.append(chunk.get("usage"))
                    choices = chunk.get("choices")
                    if "dropped" in chunk:
                        if place == 0:
                            yield chunk
                    elif isinstance(choices, list) and choices and isinstance(choices[0], dict):
                        kept = {**chunk, **made, "choices": [{**choices[0], "index": place}]}
                        kept.pop("usage", None)
                        yield kept
        usage = _sum(usages)
        self._figures.spent(usage)
        if plan.include_usage:
            kind = "chat.completion.chunk" if plan.path.startswith("/chat") else "text_completion"
            yield {**made, "object": kind, "choices": [], "usage": usage}

    async def _once(self, plan: _Plan, seed: int) -> tuple[dict[str, Any], str]:
        body = {**plan.body, "seed": seed, "stream": False}
        for again in (False, True):
            try:
                async with self._upstream.ask(plan.path, body, plan.caller, plan.ends, again=again) as reply:
                    return await reply.whole(), reply.dropped
            except BrokenError as error:
                if again:
                    raise Refusal(503, f"the model went away in mid-answer ({error.how})") from None
        raise AssertionError

    async def _streamed(self, plan: _Plan, seed: int) -> AsyncGenerator[dict[str, Any], None]:
        body = {**plan.body, "seed": seed, "stream": True, "stream_options": {"include_usage": True}}
        begun = False
        for again in (False, True):
            try:
                async with (
                    self._upstream.ask(plan.path, body, plan.caller, plan.ends, again=again) as reply,
                    aclosing(reply.events()) as events,
                ):
                    if reply.dropped:
                        begun = True
                        yield {"dropped": reply.dropped}
                    async for chunk in events:
                        begun = True
                        yield chunk
                    return
            except BrokenError as error:
                if begun or again:
                    raise Refusal(503, f"the model went away in mid-answer ({error.how})") from None

    def _plan(self, asked: ChatRequest | CompletionRequest, caller: str) -> _Plan:
        profile = self._profile(asked)
        given = msgspec.to_builtins(asked)
        body: dict[str, Any] = {"model": self.name}
        own = msgspec.to_builtins(profile)
        for name in _SAMPLING:
            if given.get(name) is not None:
                body[name] = given[name]
            elif self._local or own[name] != getattr(Profile(), name):
                body[name] = own[name]
        body |= {name: given[name] for name in _PASSED if given.get(name) is not None}
        if self._local:
            body["cache_prompt"] = profile.cache_prompt
        if isinstance(asked, ChatRequest):
            path = "/chat/completions"
            body["messages"] = [_plain(message) for message in given["messages"]]
            if self._local and (asked.truncation or self._config.truncation) == "auto":
                body["truncation"] = "auto"
        else:
            path = "/completions"
            body["prompt"] = asked.prompt if isinstance(asked.prompt, str) else asked.prompt[0]
            if asked.logprobs is not None:
                body |= {"logprobs": True, "top_logprobs": asked.logprobs}
        votes = asked.n is None and profile.samples > 1
        first = asked.seed if asked.seed is not None else profile.seed
        if asked.seed is None and profile.seed < 0:
            first = secrets.randbelow(_SEEDS)
        seeds = [(first + step) % _SEEDS for step in range(profile.samples if votes else asked.n or 1)]
        ends = asyncio.get_running_loop().time() + self._config.deadline_s
        usage = asked.stream_options is not None and asked.stream_options.include_usage
        return _Plan(path, body, seeds, votes, _schema_of(asked), caller, ends, usage)

    def _profile(self, asked: ChatRequest | CompletionRequest) -> Profile:
        name = asked.model
        wanted = asked.profile
        if name not in ("", "default", self.name):
            base, _, profile = name.rpartition(":")
            if base not in ("default", self.name) or not profile:
                raise Refusal(
                    404,
                    f"The model {name[:100]!r} does not exist; expected {self.name!r}, also with `:profile`",
                    code="model_not_found",
                    param="model",
                )
            wanted = wanted or profile
        try:
            return named_profile(wanted or self._config.profile, self._config.profiles)
        except ConfigError as error:
            raise Refusal(400, str(error), code="profile_not_found", param="profile") from None


def _plain(message: dict[str, Any]) -> dict[str, str]:
    content = message.get("content") or ""
    if isinstance(content, list):
        content = "".join(part["text"] for part in content)
    # Templates know no developer, who is what the system was.
    role = "system" if message["role"] == "developer" else message["role"]
    return {"role": role, "content": content}


def _schema_of(asked: ChatRequest | CompletionRequest) -> dict[str, Any] | None:
    wanted = asked.response_format if isinstance(asked, ChatRequest) else None
    if wanted is None:
        return None
    return wanted.json_schema.schema if wanted.json_schema is not None else wanted.schema


def _text(choice: Any) -> str:
    if not isinstance(choice, dict):
        return ""
    message = choice.get("message")
    text = message.get("content") if isinstance(message, dict) else choice.get("text")
    return text if isinstance(text, str) else ""


def _sum(usages: list[Any]) -> dict[str, int]:
    """Of several answers to one prompt, which counts once."""
    found = [usage for usage in usages if isinstance(usage, dict)]
    read = max((_number(usage, "prompt_tokens") for usage in found), default=0)
    written = sum(_number(usage, "completion_tokens") for usage in found)
    return {"prompt_tokens": read, "completion_tokens": written, "total_tokens": read + written}


def _number(usage: dict[str, Any], name: str) -> int:
    value = usage.get(name)
    return value if isinstance(value, int) else 0


def _id(plan: _Plan) -> str:
    return f"{'chatcmpl' if plan.path.startswith('/chat') else 'cmpl'}-{secrets.token_hex(12)}"


def _chunks(body: dict[str, Any], plan: _Plan) -> list[dict[str, Any]]:
    """A whole answer as a stream would have it."""
    choice = body["choices"][0]
    text = _text(choice)
    chat = plan.path.startswith("/chat")
    base = {name: body.get(name) for name in ("id", "created", "model", "vote")}
    base["object"] = "chat.completion.chunk" if chat else "text_completion"
    said: dict[str, Any] = {"delta": {"role": "assistant", "content": text}} if chat else {"text": text}
    end: dict[str, Any] = {"delta": {}} if chat else {"text": ""}
    chunks = [
        {**base, "choices": [{"index": 0, **said, "finish_reason": None}]},
        {**base, "choices": [{"index": 0, **end, "finish_reason": choice.get("finish_reason") or "stop"}]},
    ]
    if plan.include_usage:
        chunks.append({**base, "choices": [], "usage": body["usage"]})
    return chunks
