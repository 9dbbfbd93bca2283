"""Chat messages to tokens and tokens to text, around a `llama_cpp.Llama`. Runs in the model's child process only.

Why not `Llama.create_chat_completion`: it cannot count a chat beforehand, goes on where a grammar could not be read,
turns the text of a control token into the token, detokenizes the whole answer at each token, and needs the logits of
the whole context for log-probabilities.
"""

from __future__ import annotations

import codecs
import collections
import json
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

__all__ = ["ContextError", "Gone", "Piece", "Wanted", "Writer"]

_GRAMMARS = 32
_GRAMMAR_BYTES = 65_536
_STOPS = 16
# Any JSON value, as llama.cpp's own grammar has it, without its unbounded white space.
_JSON_SCHEMA = {"type": "object"}


class ContextError(ValueError):
    """The prompt does not fit the context."""


class Gone(Exception):  # noqa: N818 - it is no failure
    """Whoever asked is not there any more."""


class Piece(NamedTuple):
    """A part of an answer. `reason` is set in the last one: "stop" or "length".

    `logprobs` holds, for each token that the text is made of, its text, its log-probability and the likeliest ones.
    """

    text: str
    tokens: int
    reason: str | None
    logprobs: tuple[tuple[str, float, tuple[tuple[str, float], ...]], ...] = ()


class Wanted(NamedTuple):
    """How an answer is to be sampled; names as in the OpenAI API and llama.cpp."""

    max_tokens: int = 256
    temperature: float = 0.0
    top_p: float = 0.95
    top_k: int = 40
    min_p: float = 0.05
    presence_penalty: float = 0.0
    frequency_penalty: float = 0.0
    repeat_penalty: float = 1.05
    seed: int = 1
    stop: tuple[str, ...] = ()
    top_logprobs: int | None = None
    # Where a prompt's beginning is in the cache it is not read again; the sums then round differently by a hair.
    cache_prompt: bool = True


class Writer:
    """Writes one answer at a time."""

    def __init__(self, llama: Any) -> None:
        from llama_cpp import llama_chat_format
        from llama_cpp import llama_cpp as api

        self.llama = llama
        self.n_ctx: int = llama.n_ctx()
        self._api = api
        vocab = llama._model.vocab
        self._control = [
            text
            for token in range(llama.n_vocab())
            if api.llama_vocab_is_control(vocab, token) and len(text := self._text_of(token, special=True)) > 2
        ]
        eos, bos = llama.token_eos(), llama.token_bos()
        self._template = llama_chat_format.Jinja2ChatFormatter(
            template=llama.metadata.get("tokenizer.chat_template") or llama_chat_format.CHATML_CHAT_TEMPLATE,
            eos_token=self._text_of(eos, special=True) if eos != -1 else "",
            bos_token=self._text_of(bos, special=True) if bos != -1 else "",
        )
        self._grammars: collections.OrderedDict[str, Any] = collections.OrderedDict()

    def use_threads(self, threads: int) -> None:
        """How many threads compute from now on."""
        self._api.llama_set_n_threads(self.llama._ctx.ctx, threads, threads)

    def chat_tokens(self, messages: Sequence[dict[str, str]]) -> list[int]:
        """What the model's chat template makes of the messages, up to where the answer begins.

        Control tokens are the template's alone: the text of one inside a message is broken by a space.

        Raises:
            ValueError: the template takes no such messages.
        """
        import jinja2

        safe: list[Any] = [{**message, "content": self._broken(message["content"])} for message in messages]
        try:
            prompt = self._template(messages=safe).prompt
        except (jinja2.TemplateError, ValueError, TypeError, AttributeError) as error:
            raise ValueError(f"the model's chat template refuses these messages: {error}") from None
        tokens: list[int] = self.llama.tokenize(prompt.encode("utf-8", "replace"), add_bos=False, special=True)
        return tokens

    def text_tokens(self, text: str) -> list[int]:
        """A bare text, as `/v1/completions` continues it."""
        tokens: list[int] = self.llama.tokenize(text.encode("utf-8", "replace"), add_bos=True, special=False)
        return tokens or [self.llama.token_bos()]

    def fit(self, messages: Sequence[dict[str, str]], room: int) -> tuple[list[int], int]:
        """The messages' tokens, and how many of the oldest turns were left out to leave `room` tokens for the answer.

        System messages at the beginning and the last message always stay.

        Raises:
            ContextError: those alone are too long.
        """
        turns = list(messages)
        first = next((place for place, message in enumerate(turns) if message["role"] not in _RULES), len(turns))
        dropped = 0
        while True:
            tokens = self.chat_tokens(turns)
            if len(tokens) + room <= self.n_ctx:
                return tokens, dropped
            # An answer without its question goes, too: some templates want them in turn.
            went = 0
            while len(turns) > first + 1 and (went == 0 or turns[first]["role"] != "user"):
                turns.pop(first)
                went += 1
            if not went:
                raise ContextError(f"Requested tokens ({len(tokens)}) exceed context window of {self.n_ctx}")
            dropped += went

    def grammar(self, kind: str, text: str) -> Any:
        """The grammar of a JSON schema (`kind` "json_schema"), any object ("json_object") or GBNF ("grammar"); kept.

        Raises:
            ValueError: llama.cpp cannot make one of it.
        """
        from llama_cpp.llama_grammar import LlamaGrammar

        key = f"{kind} {text}"
        if key in self._grammars:
            self._grammars.move_to_end(key)
            return self._grammars[key]
        if len(text) > _GRAMMAR_BYTES:
            raise ValueError(f"the {kind} has {len(text)} characters, expected at most {_GRAMMAR_BYTES}")
        try:
            if kind == "grammar":
                grammar = LlamaGrammar.from_string(text, verbose=False)
            else:
                schema = text if kind == "json_schema" else json.dumps(_JSON_SCHEMA)
                grammar = LlamaGrammar.from_json_schema(schema, verbose=False)
        except (RecursionError, MemoryError):
            raise ValueError(f"the {kind} is nested too deeply") from None
        except Exception as error:  # noqa: BLE001 - the converter asserts, and raises what it meets
            raise ValueError(f"no grammar can be made of the {kind}: {type(error).__name__}: {error}") from None
        # llama-cpp-python would go on without a grammar where llama.cpp cannot read it.
        root = grammar._root.encode()
        probe = self._api.llama_sampler_init_grammar(
            self.llama._model.vocab, grammar._grammar.encode("utf-8", "replace"), root
        )
        if not probe:
            raise ValueError(f"llama.cpp cannot read the grammar of the {kind}")
        self._api.llama_sampler_free(probe)
        self._grammars[key] = grammar
        if len(self._grammars) > _GRAMMARS:
            self._grammars.popitem(last=False)
        return grammar

    def write(self, tokens: list[int], wanted: Wanted, grammar: Any, gone: Callable[[], bool]) -> Iterator[Piece]:
        """The answer to a prompt, in pieces of whole characters; the last one says why it ended.

        Raises:
            ContextError: the prompt leaves no room for an answer.
            Gone: `gone()` said so between two tokens, or between two batches of a long prompt.
        """
        llama = self.llama
        if len(tokens) >= self.n_ctx:
            raise ContextError(f"Requested tokens ({len(tokens)}) exceed context window of {self.n_ctx}")
        most = max(1, min(wanted.max_tokens, self.n_ctx - len(tokens)))
        if not wanted.cache_prompt:
            llama.reset()
        self._read(tokens, gone)
        llama.set_seed(wanted.seed)
        ending = _Ending(wanted.stop)
        seen: list[tuple[str, float, tuple[tuple[str, float], ...]]] = []
        made = llama.generate(
            tokens,
            top_k=wanted.top_k,
            top_p=wanted.top_p,
            min_p=wanted.min_p,
            temp=wanted.temperature,
            repeat_penalty=wanted.repeat_penalty,
            frequency_penalty=wanted.frequency_penalty,
            presence_penalty=wanted.presence_penalty,
            grammar=grammar,
        )
        for count, token in enumerate(made, start=1):
            if gone():
                raise Gone
            if self._api.llama_vocab_is_eog(llama._model.vocab, token):
                yield Piece(ending.rest(), count - 1, "stop", tuple(seen))
                return
            if wanted.top_logprobs is not None:
                seen.append(self._likelihood(token, wanted.top_logprobs))
            text = ending.add(llama._model.detokenize([token]))
            if ending.stopped or count >= most:
                last = text if ending.stopped else text + ending.rest()
                yield Piece(last, count, "stop" if ending.stopped else "length", tuple(seen))
                return
            if text:
                yield Piece(text, count, None, tuple(seen))
                seen = []

    def _read(self, tokens: list[int], gone: Callable[[], bool]) -> None:
        """Read all but a prompt's last batch, looking between batches whether somebody still waits for it."""
        llama = self.llama
        known = 0
        while known < min(llama.n_tokens, len(tokens)) and llama.input_ids[known] == tokens[known]:
            known += 1
        if len(tokens) - known <= llama.n_batch:
            return
        if known < llama.n_tokens:
            # What has no part of its memory taken away, as a recurrent model's, begins anew.
            if not llama._ctx.kv_cache_seq_rm(-1, known, -1):
                llama.reset()
                known = 0
            llama.n_tokens = known
        while len(tokens) - llama.n_tokens > llama.n_batch:
            if gone():
                raise Gone
            llama.eval(tokens[llama.n_tokens : llama.n_tokens + llama.n_batch])
        if gone():
            raise Gone

    def _likelihood(self, token: int, top: int) -> tuple[str, float, tuple[tuple[str, float], ...]]:
        pointer = self._api.llama_get_logits_ith(self.llama._ctx.ctx, -1)
        logits = np.ctypeslib.as_array(pointer, shape=(self.llama.n_vocab(),)).astype(np.float64)
        logprobs = logits - logits.max()
        logprobs -= np.log(np.exp(logprobs).sum())
        best = np.argsort(-logprobs)[:top]
        return (
            self._text_of(token),
            float(logprobs[token]),
            tuple((self._text_of(int(one)), float(logprobs[one])) for one in best),
        )

    def _text_of(self, token: int, *, special: bool = False) -> str:
        raw: bytes = self.llama._model.detokenize([token], special=special)
        return raw.decode(errors="replace")

    def _broken(self, text: str) -> str:
        for control in self._control:
            if control in text:
                text = text.replace(control, f"{control[0]} {control[1:]}")
        return text


_RULES = ("system", "developer")


class _Ending:
    """Makes characters of bytes, and holds back what may become a stop sequence."""

    def __init__(self, stops: Sequence[str]) -> None:
        self.stopped = False
        self._stops = [stop for stop in stops if stop][:_STOPS]
        self._decoder = codecs.getincrementaldecoder("utf-8")("replace")
        self._held = ""

    def add(self, raw: bytes) -> str:
        self._held += self._decoder.decode(raw)
        at = min((place for stop in self._stops if (place := self._held.find(stop)) >= 0), default=-1)
        if at >= 0:
            self.stopped = True
            text, self._held = self._held[:at], ""
            return text
        keep = max((_overlap(self._held, stop) for stop in self._stops), default=0)
        text, self._held = self._held[: len(self._held) - keep], self._held[len(self._held) - keep :]
        return text

    def rest(self) -> str:
        return self._held + self._decoder.decode(b"", final=True)


def _overlap(text: str, stop: str) -> int:
    """How long an end of `text` is that begins `stop`."""
    return next((size for size in range(min(len(text), len(stop) - 1), 0, -1) if text.endswith(stop[:size])), 0)
