"""Ways to sample, by name, and the vote over several answers."""

from __future__ import annotations

import collections
import json
from collections.abc import Mapping, Sequence
from typing import Annotated, Any, NamedTuple

import msgspec

from logllm.errors import ConfigError

__all__ = ["PROFILES", "Profile", "Vote", "named_profile", "vote"]

_Unit = Annotated[float, msgspec.Meta(ge=0.0, le=1.0)]
_Penalty = Annotated[float, msgspec.Meta(ge=-2.0, le=2.0)]
MOST_SAMPLES = 8
_MOST_FIELDS = 64


class Profile(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What a request that names it gets where it says nothing itself.

    `seed` -1 is another each time. `samples` answers are made with seeds that follow each other; of more than one the
    answer is what most of them say (`vote`). `cache_prompt` false: the whole prompt is read each time, so that an
    answer does not depend, by rounding, on what was asked before.
    """

    temperature: Annotated[float, msgspec.Meta(ge=0.0, le=2.0)] = 0.7
    top_p: _Unit = 0.95
    top_k: Annotated[int, msgspec.Meta(ge=0, le=1000)] = 40
    min_p: _Unit = 0.05
    presence_penalty: _Penalty = 0.0
    frequency_penalty: _Penalty = 0.0
    repeat_penalty: Annotated[float, msgspec.Meta(ge=0.5, le=2.0)] = 1.05
    seed: Annotated[int, msgspec.Meta(ge=-1, le=4_294_967_295)] = -1
    samples: Annotated[int, msgspec.Meta(ge=1, le=MOST_SAMPLES)] = 1
    cache_prompt: bool = True


PROFILES: dict[str, Profile] = {
    "default": Profile(),
    "deterministic": Profile(temperature=0.0, seed=1, cache_prompt=False),
    "diverse": Profile(temperature=0.8, seed=1, samples=5),
    "creative": Profile(temperature=1.1, top_p=0.98, top_k=0, min_p=0.02, repeat_penalty=1.1),
}


def named_profile(name: str, own: Mapping[str, Profile]) -> Profile:
    """A profile of the configuration, else of ours.

    Raises:
        ConfigError: there is none of that name.
    """
    found = own.get(name) or PROFILES.get(name)
    if found is None:
        known = ", ".join(sorted({*PROFILES, *own}))
        raise ConfigError(f"profile {name[:80]!r}: expected one of {known}")
    return found


class Vote(NamedTuple):
    """`chosen` is the place of the answer that says what most say; `agreement` their share; `counts` by field."""

    chosen: int
    agreement: float
    counts: dict[str, dict[str, int]]


def vote(texts: Sequence[str], schema: Mapping[str, Any] | None) -> Vote:
    """Self-consistency: the first answer whose choices are those of most answers.

    Choices are the schema's fields that are an enum, a boolean or a whole number, all of them together; the free text
    beside them is the chosen answer's own. Without such fields, whole answers are compared. Answers that are no JSON
    have no vote where there is a schema. Wang et al., "Self-consistency improves chain of thought reasoning" (2022).

    >>> vote(['{"a": "x"}', '{"a": "y"}', '{"a": "y"}'], {"properties": {"a": {"enum": ["x", "y"]}}})
    Vote(chosen=1, agreement=0.6666666666666666, counts={'a': {'x': 1, 'y': 2}})
    """
    fields = _choices(schema)
    ballots = [_ballot(text, fields) if fields else (text.strip(),) for text in texts]
    valid = [ballot for ballot in ballots if ballot is not None]
    if not valid:
        return Vote(0, 0.0, {})
    # Counter.most_common keeps the order of first appearance among equals.
    winner, times = collections.Counter(valid).most_common(1)[0]
    counts = {field: dict(collections.Counter(ballot[place] for ballot in valid)) for place, field in enumerate(fields)}
    return Vote(ballots.index(winner), times / len(texts), counts)


def _choices(schema: Mapping[str, Any] | None) -> list[str]:
    properties = schema.get("properties") if isinstance(schema, Mapping) else None
    if not isinstance(properties, Mapping):
        return []
    return [str(name) for name, one in properties.items() if isinstance(one, Mapping) and _is_choice(one)][
        :_MOST_FIELDS
    ]


def _is_choice(one: Mapping[str, Any]) -> bool:
    items = one.get("items")
    listed = isinstance(items, Mapping) and "enum" in items
    return "enum" in one or "const" in one or one.get("type") in ("boolean", "integer") or listed


def _ballot(text: str, fields: Sequence[str]) -> tuple[str, ...] | None:
    try:
        found = json.loads(text)
    except (ValueError, RecursionError):
        return None
    if not isinstance(found, dict):
        return None
    return tuple(_shown(found.get(field)) for field in fields)


def _shown(value: Any) -> str:
    if isinstance(value, list):
        # Which ones, not in which order.
        return json.dumps(sorted({str(one) for one in value}))
    return value if isinstance(value, str) else json.dumps(value)
