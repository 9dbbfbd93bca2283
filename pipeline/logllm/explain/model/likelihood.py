"""How likely a model finds each of several texts after one beginning: nothing is generated.

Works on llama.cpp's batch interface, because `Llama` keeps the logits of every token of the context (400 MB at 2,048
tokens and 49,152 words) or of one. Runs in the model's child process only.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

__all__ = ["log_likelihood"]


_SEQUENCE = 1


def log_likelihood(llama: Any, prefix: str, texts: Sequence[str], *, max_tokens: int = 96) -> list[tuple[float, int]]:
    """For each text the sum of log-probabilities of its tokens after the prefix, and how many they are.

    The prefix is read once. Texts are cut to `max_tokens` tokens. Uses the context's second sequence, which is empty
    before and after.

    Raises:
        ValueError: the prefix and a text together are longer than the context or the batch, or one is empty.
        RuntimeError: llama.cpp could not decode.
    """
    from llama_cpp import llama_cpp

    head = llama.tokenize(prefix.encode(), add_bos=True, special=False)
    tails = [llama.tokenize(text.encode(), add_bos=False, special=False)[:max_tokens] for text in texts]
    longest = max((len(tail) for tail in tails), default=0)
    limit = min(llama.n_ctx(), llama.n_batch)
    if not head or not all(tails) or len(head) + longest > limit:
        raise ValueError(f"Expected 2 to {limit} tokens of prefix and text, got {len(head)} and {longest}")
    context = llama._ctx.ctx
    memory = llama_cpp.llama_get_memory(context)
    llama_cpp.llama_memory_seq_rm(memory, _SEQUENCE, -1, -1)
    if llama.n_tokens + len(head) + longest > llama.n_ctx():
        # The two sequences share the context's cells: a long chat's cache makes room.
        llama_cpp.llama_memory_clear(memory, True)
        llama.reset()
    try:
        first = _decode(llama_cpp, context, head, 0, len(head) - 1, llama.n_vocab())
        results = []
        for tail in tails:
            logits = first
            if len(tail) > 1:
                rest = _decode(llama_cpp, context, tail[:-1], len(head), 0, llama.n_vocab())
                logits = np.concatenate([first, rest])
            results.append((_sum_of(logits, tail), len(tail)))
            llama_cpp.llama_memory_seq_rm(memory, _SEQUENCE, len(head), -1)
    finally:
        llama_cpp.llama_memory_seq_rm(memory, _SEQUENCE, -1, -1)
    return results


def _decode(
    llama_cpp: Any, context: Any, tokens: list[int], begin: int, wanted: int, n_vocab: int
) -> NDArray[np.float32]:
    """The logits of the tokens from `wanted` on, which stand at `begin` and after in the sequence.

    Shapes: returns float32[n - wanted, vocabulary].
    """
    batch = llama_cpp.llama_batch_init(len(tokens), 0, 1)
    try:
        for place, token in enumerate(tokens):
            batch.token[place] = token
            batch.pos[place] = begin + place
            batch.n_seq_id[place] = 1
            batch.seq_id[place][0] = _SEQUENCE
            # Only where the next token is one of a text's: the head of the network is a quarter of the work.
            batch.logits[place] = place >= wanted
        batch.n_tokens = len(tokens)
        code = llama_cpp.llama_decode(context, batch)
        if code != 0:
            raise RuntimeError(f"llama_decode answered {code}")
        pointer = llama_cpp.llama_get_logits(context)
        return np.ctypeslib.as_array(pointer, shape=(len(tokens) - wanted, n_vocab)).copy()
    finally:
        llama_cpp.llama_batch_free(batch)


def _sum_of(logits: NDArray[np.float32], tokens: list[int]) -> float:
    """Shapes: logits float32[n, vocabulary]."""
    top = logits.max(axis=1)
    whole = top + np.log(np.exp(logits - top[:, None]).sum(axis=1))
    return float((logits[np.arange(len(tokens)), tokens] - whole).sum())
