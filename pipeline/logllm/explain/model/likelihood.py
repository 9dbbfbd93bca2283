"""How likely a model finds a text after each of several beginnings: one pass for each, nothing generated.

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


def log_likelihood(llama: Any, prefixes: Sequence[str], text: str, *, max_tokens: int = 96) -> list[tuple[float, int]]:
    """For each prefix the sum of log-probabilities of the tokens of `text` after it, and how many they are.

    `text` is cut to `max_tokens` tokens. Uses the context's second sequence, which is empty before and after.

    Raises:
        ValueError: a prefix and the text together are longer than the context or the batch.
        RuntimeError: llama.cpp could not decode.
    """
    from llama_cpp import llama_cpp

    tail = llama.tokenize(text.encode(), add_bos=False, special=False)[:max_tokens]
    context = llama._ctx.ctx
    memory = llama_cpp.llama_get_memory(context)
    limit = min(llama.n_ctx(), llama.n_batch)
    results = []
    for prefix in prefixes:
        head = llama.tokenize(prefix.encode(), add_bos=True, special=False)
        if not head or not tail or len(head) + len(tail) > limit:
            raise ValueError(f"Expected 2 to {limit} tokens of prefix and text, got {len(head)} and {len(tail)}")
        llama_cpp.llama_memory_seq_rm(memory, _SEQUENCE, -1, -1)
        if llama.n_tokens + len(head) + len(tail) > llama.n_ctx():
            # The two sequences share the context's cells: a long chat's cache makes room.
            llama_cpp.llama_memory_clear(memory, True)
            llama.reset()
        logits = _decode(llama_cpp, context, head, tail, llama.n_vocab())
        results.append((_sum_of(logits, tail), len(tail)))
    llama_cpp.llama_memory_seq_rm(memory, _SEQUENCE, -1, -1)
    return results


def _decode(llama_cpp: Any, context: Any, head: list[int], tail: list[int], n_vocab: int) -> NDArray[np.float32]:
    tokens = head + tail[:-1]
    batch = llama_cpp.llama_batch_init(len(tokens), 0, 1)
    try:
        for place, token in enumerate(tokens):
            batch.token[place] = token
            batch.pos[place] = place
            batch.n_seq_id[place] = 1
            batch.seq_id[place][0] = _SEQUENCE
            # Only where the next token is one of the text's: the head of the network is a quarter of the work.
            batch.logits[place] = place >= len(head) - 1
        batch.n_tokens = len(tokens)
        code = llama_cpp.llama_decode(context, batch)
        if code != 0:
            raise RuntimeError(f"llama_decode answered {code}")
        pointer = llama_cpp.llama_get_logits(context)
        return np.ctypeslib.as_array(pointer, shape=(len(tail), n_vocab)).copy()
    finally:
        llama_cpp.llama_batch_free(batch)


def _sum_of(logits: NDArray[np.float32], tokens: list[int]) -> float:
    """Shapes: logits float32[n, vocabulary]."""
    top = logits.max(axis=1)
    whole = top + np.log(np.exp(logits - top[:, None]).sum(axis=1))
    return float((logits[np.arange(len(tokens)), tokens] - whole).sum())
