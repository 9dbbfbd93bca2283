from __future__ import annotations

import ast
import inspect
import types
from pathlib import Path

import pytest

import logllm


def test_the_package_gives_at_most_ten_names_in_order() -> None:
    assert len(logllm.__all__) <= 10
    assert list(logllm.__all__) == sorted(logllm.__all__)


def test_a_star_import_gives_exactly_the_public_names() -> None:
    taken: dict[str, object] = {}

    exec("from logllm import *", taken)  # noqa: S102 - no other way to write one inside a function

    assert set(taken) - {"__builtins__"} == set(logllm.__all__)


def test_a_type_checker_sees_the_names_that_exist_when_it_runs() -> None:
    tree = ast.parse(Path(logllm.__file__).read_text(encoding="utf-8"))

    declared = {alias.name for node in ast.walk(tree) if isinstance(node, ast.ImportFrom) for alias in node.names}

    assert set(logllm.__all__) <= declared


@pytest.mark.parametrize("name", logllm.__all__)
def test_each_public_name_can_be_imported_and_says_what_it_is(name: str) -> None:
    thing = getattr(logllm, name)

    told = thing.__args__ if isinstance(thing, types.UnionType) else [thing]
    assert all((inspect.getdoc(one) or "").strip() for one in told)
    assert all(one.__module__.startswith("logllm.") for one in told)


def test_another_name_is_refused_by_its_name() -> None:
    with pytest.raises(AttributeError, match="module 'logllm' has no attribute 'pipelin'"):
        getattr(logllm, "pipelin")  # noqa: B009 - mypy knows that it is missing
