"""One client for every model server that speaks the OpenAI chat API, with a deadline that holds."""

from __future__ import annotations

import contextlib
import time
from typing import TYPE_CHECKING, Any, NamedTuple

from logllm.errors import ExplainError
from logllm.explain.model.exchange import Exchange, Place
from logllm.explain.model.replies import EventReader, count_of, loaded, whole_answer

if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Sequence

__all__ = ["Answer", "ChatClient"]

_MAX_ANSWER_BYTES = 262_144
# No tokenizer in use takes more than this many characters of log text into one token on average.
_CHARS_PER_TOKEN = 8
_LEAST_S = 0.01


class Answer(NamedTuple):
    """The text a model gave, and what it cost. `ended`: it came to an end by itself, not by the token limit."""

    text: str
    ended: bool
    prompt_tokens: int
    completion_tokens: int
    seconds: float


class ChatClient:
    """Asks one server. Holds no connection between requests; safe to use from several threads.

    Args:
        base_url: Up to and with `/v1`.
        key: Sent as a bearer token; empty for none.
        model: The server's name for the model.
        deadline_s: Seconds for a whole request, connecting included.
        max_bytes: Longest answer read.
        sent: Given `host:port` and the body of each request before it leaves; what it raises stops the request.
    """

    def __init__(
        self,
        base_url: str,
        key: str = "",
        model: str = "default",
        *,
        deadline_s: float = 60.0,
        max_bytes: int = _MAX_ANSWER_BYTES,
        stream: bool = True,
        clock: Callable[[], float] = time.monotonic,
        sent: Callable[[str, bytes], None] | None = None,
    ) -> None:
        self._place = Place(base_url, key)
        self._model = model
        self._deadline_s = deadline_s
        self._max_bytes = max_bytes
        self._stream = stream
        self._clock = clock
        self._sent = sent
        # llama-cpp-python's server knows schemas in a form of its own alone, and refuses OpenAI's.
        self._own_form = False

    def chat(
        self,
        messages: Sequence[dict[str, str]],
        schema: dict[str, Any],
        *,
        max_tokens: int = 200,
        stop: Sequence[str] = (),
        deadline_s: float | None = None,
    ) -> Answer:
        """One answer that the server was asked to keep to `schema`; whether it did is for the caller to check.

        Raises:
            ExplainError: with the reason: no connection, an HTTP error, no end before the deadline, an answer that is
                too long or not the API's JSON, nothing said, or a prompt that the server cut.
        """
        pieces = self._answer(messages, schema, max_tokens, stop, 0.0, 1, deadline_s, stream=self._stream)
        while True:
            try:
                next(pieces)
            except StopIteration as end:
                answer: Answer = end.value
                return answer

    def stream(
        self,
        messages: Sequence[dict[str, str]],
        *,
        schema: dict[str, Any] | None = None,
        max_tokens: int = 200,
        stop: Sequence[str] = (),
        temperature: float = 0.0,
        seed: int = 1,
        deadline_s: float | None = None,
    ) -> Generator[str, None, Answer]:
        """The answer's text in pieces, as they come; the whole `Answer` is the generator's return value.

        The request is sent with the first `next`. Closing the generator breaks the connection, at which our own
        server and most others stop generating. The deadline counts the time in which the caller holds a piece. What
        has been yielded may turn out to be part of an answer that is refused in the end.

        Raises:
            ExplainError: as for `chat`, from `next`.
        """
        return self._answer(messages, schema, max_tokens, stop, temperature, seed, deadline_s, stream=True)

    def count_tokens(self, text: str, *, deadline_s: float = 5.0) -> int:
        """How many tokens `text` is for the server's model (llama-cpp-python's and our child's call).

        Raises:
            ExplainError: the server does not offer it, or as for `chat`.
        """
        return self._counted({"model": self._model, "input": text}, deadline_s)

    def count_chat_tokens(self, messages: Sequence[dict[str, str]], *, deadline_s: float = 5.0) -> int:
        """How many tokens the model's chat template makes of these messages, to the last one. Only our child offers it.

        Raises:
            ExplainError: as for `count_tokens`.
        """
        return self._counted({"model": self._model, "messages": list(messages)}, deadline_s)

    def score(
        self, prefix: str, texts: Sequence[str], *, max_tokens: int = 64, deadline_s: float = 30.0
    ) -> list[float]:
        """The mean log-probability of a token of each text after the prefix. Only our child offers it.

        Raises:
            ExplainError: as for `chat`.
        """
        body = {"prefix": prefix, "texts": list(texts), "max_tokens": max_tokens}
        raw = self._extra("score", body, deadline_s)
        try:
            scores = [float(score["logprob"]) / max(1, int(score["tokens"])) for score in loaded(raw)["scores"]]
        except (KeyError, TypeError, ValueError):
            raise ExplainError(f"{self._place.shown}: Expected scores, got {raw[:80]!r}") from None
        if len(scores) != len(texts):
            raise ExplainError(f"{self._place.shown}: Expected {len(texts)} scores, got {len(scores)}")
        return scores

    def _answer(
        self,
        messages: Sequence[dict[str, str]],
        schema: dict[str, Any] | None,
        max_tokens: int,
        stop: Sequence[str],
        temperature: float,
        seed: int,
        deadline_s: float | None,
        *,
        stream: bool,
    ) -> Generator[str, None, Answer]:
        began = self._clock()
        body: dict[str, Any] = {
            "model": self._model,
            "messages": list(messages),
            "max_tokens": max_tokens,
            "temperature": temperature,
            "seed": seed,
            "stream": stream,
        }
        if stop:
            body["stop"] = list(stop)
        if stream:
            body["stream_options"] = {"include_usage": True}
        pieces: list[str] = []
        with contextlib.ExitStack() as stack:
            exchange = self._begun(stack, body, schema, deadline_s)
            if exchange.streamed:
                reader = EventReader()
                for data in exchange.pieces():
                    piece = reader.feed(data)
                    if piece:
                        pieces.append(piece)
                        yield piece
                    if reader.done:
                        break
                reader.finish()
                ended, usage = reader.ended, reader.usage
            else:
                text, ended, usage = whole_answer(b"".join(exchange.pieces()))
                pieces.append(text)
                yield text
        text = "".join(pieces)
        if not text.strip():
            raise ExplainError(f"{self._place.shown}: the model said nothing")
        prompt_tokens = count_of(usage, "prompt_tokens")
        written = sum(len(message["content"]) for message in messages)
        # Some servers (Ollama) cut a long prompt from the front, instructions first, and answer 200.
        if prompt_tokens and prompt_tokens * _CHARS_PER_TOKEN < written:
            raise ExplainError(
                f"{self._place.shown}: the server cut the prompt: "
                f"it read {prompt_tokens} tokens of {written} characters"
            )
        return Answer(text, ended, prompt_tokens, count_of(usage, "completion_tokens"), self._clock() - began)

    def _begun(
        self, stack: contextlib.ExitStack, body: dict[str, Any], schema: dict[str, Any] | None, deadline_s: float | None
    ) -> Exchange:
        path = f"{self._place.path}/chat/completions"
        if schema is None:
            return stack.enter_context(self._exchange(path, body, deadline_s))
        limit_s = self._deadline_s if deadline_s is None else deadline_s
        ends = self._clock() + limit_s
        if not self._own_form:
            body["response_format"] = {
                "type": "json_schema",
                "json_schema": {"name": "answer", "strict": True, "schema": schema},
            }
            try:
                return stack.enter_context(self._exchange(path, body, limit_s))
            except ExplainError as error:
                # It says which forms it knows.
                if "'json_object'" not in str(error):
                    raise
        body["response_format"] = {"type": "json_object", "schema": schema}
        exchange = stack.enter_context(self._exchange(path, body, max(_LEAST_S, ends - self._clock())))
        self._own_form = True
        return exchange

    def _counted(self, body: dict[str, Any], deadline_s: float) -> int:
        raw = self._extra("tokenize/count", body, deadline_s)
        count = loaded(raw).get("count")
        if not isinstance(count, int):
            raise ExplainError(f"{self._place.shown}: Expected a token count, got {raw[:80]!r}")
        return count

    def _extra(self, name: str, body: dict[str, Any], deadline_s: float) -> bytes:
        path = f"{self._place.path.removesuffix('/v1')}/extras/{name}"
        with self._exchange(path, body, deadline_s) as exchange:
            return b"".join(exchange.pieces())

    def _exchange(self, path: str, body: dict[str, Any], deadline_s: float | None) -> Exchange:
        limit_s = self._deadline_s if deadline_s is None else deadline_s
        return Exchange(self._place, path, body, limit_s, self._max_bytes, self._sent)
