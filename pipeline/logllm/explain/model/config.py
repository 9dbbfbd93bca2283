"""The `[llm]` table."""

from __future__ import annotations

from typing import Annotated, Literal

import msgspec

from logllm.explain.model.sampling import Profile

__all__ = ["LlmConfig"]


class LlmConfig(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """`logllm llm serve`: the model as a service of its own.

    Args:
        listen: `host:port`.
        model: A name of the catalogue, a path to a `.gguf` or a URL; empty for `[explain]`'s.
        key_file: Keys, one a line; beside this file. Empty: `LOGLLM_API_KEY`, else one that is made up and shown.
        hosts: Names, beside addresses and `localhost`, by which clients may call it.
        workers: So many processes at most. Each holds the model; what they hold in common is in memory once.
        min_workers: So many are kept, in the windows if there are any.
        idle_s: A worker ends after so long without work; 0: never.
        scale_up_wait_s: Another worker is started when a request has waited so long.
        max_memory_bytes: No further worker is started where they would take more together; 0 for no limit.
        queue: Requests that may wait; more are refused with 429.
        deadline_s: For a whole request, waiting included.
        n_ctx: Context in tokens, for the question and the answer.
        threads: Of all workers together; 0: as many as there are cores, at most four for each.
        memory_bytes: Limit of each worker's address space; 0 for none.
        truncation: What becomes of a chat that is too long: an error, or (`auto`) its oldest turns are left out.
        profile: For requests that name none.
        profiles: Your own, `[llm.profiles.NAME]`.
        windows: When workers are kept warm, as "mon-fri 07:00-20:00 Europe/Berlin"; none for always.
        outside: Outside of them a worker is started on demand, or (`refuse`) none works.
    """

    listen: str = "127.0.0.1:8080"
    model: str = ""
    key_file: str = ""
    hosts: list[str] = []
    workers: Annotated[int, msgspec.Meta(ge=1, le=64)] = 1
    min_workers: Annotated[int, msgspec.Meta(ge=0, le=64)] = 0
    idle_s: Annotated[float, msgspec.Meta(ge=0.0)] = 300.0
    scale_up_wait_s: Annotated[float, msgspec.Meta(ge=0.0)] = 1.0
    max_memory_bytes: Annotated[int, msgspec.Meta(ge=0)] = 0
    queue: Annotated[int, msgspec.Meta(ge=0, le=10_000)] = 32
    deadline_s: Annotated[float, msgspec.Meta(gt=0.0, le=3600.0)] = 120.0
    n_ctx: Annotated[int, msgspec.Meta(ge=512)] = 4096
    threads: Annotated[int, msgspec.Meta(ge=0, le=256)] = 0
    memory_bytes: Annotated[int, msgspec.Meta(ge=0)] = 0
    truncation: Literal["error", "auto"] = "error"
    profile: str = "default"
    profiles: dict[str, Profile] = {}
    windows: list[str] = []
    outside: Literal["on_demand", "refuse"] = "on_demand"
