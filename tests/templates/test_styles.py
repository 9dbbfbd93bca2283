"""Lines of many kinds of systems, made up for this test, and the templates a careful person would give them."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from logllm.templates.masks import WILD, mask
from logllm.templates.miner import Miner
from logllm.templates.records import masked_record

_FILE = Path(__file__).parent / "lines" / "styles.txt"
_STYLE = re.compile(r"\[[a-z ]+\]")


def _styles() -> dict[str, list[tuple[str, str]]]:
    styles: dict[str, list[tuple[str, str]]] = {}
    style, line = "", ""
    for read in _FILE.read_text(encoding="utf-8").splitlines():
        if read.startswith("=> "):
            styles[style].append((line, read[3:]))
        elif _STYLE.fullmatch(read):
            style = read[1:-1]
            styles[style] = []
        elif read and not read.startswith("#"):
            line = read
    return styles


_STYLES = _styles()


def _all_varied(line: str) -> str:
    """The template as it would be once all that probably varies has."""
    return " ".join((masked_record(line) or mask(line))[0])


def test_there_are_lines_of_many_styles() -> None:
    assert sum(map(len, _STYLES.values())) > 220
    assert len(_STYLES) > 7


@pytest.mark.parametrize("style", _STYLES)
def test_a_line_alone_has_the_template_a_careful_person_gives_it(style: str) -> None:
    wrong = []

    for line, template in _STYLES[style]:
        found = _alone(line)
        if template not in (found, _all_varied(line)):
            wrong.append((line, template, found))

    assert wrong == []


def _alone(line: str) -> str:
    miner = Miner()
    return miner.template(int(miner.ids([line])[0])).untyped


def test_lines_of_all_styles_in_one_miner_stay_apart() -> None:
    pairs = [pair for style in _STYLES.values() for pair in style]
    lines = [line for line, _ in pairs]
    miner = Miner()

    indices = miner.ids(lines + lines[::-1]).tolist()

    assert indices[: len(lines)] == indices[: len(lines) - 1 : -1]
    assert len(set(indices)) == len({template for _, template in pairs})


@pytest.mark.parametrize("style", _STYLES)
def test_the_values_of_a_line_put_into_its_template_give_the_line(style: str) -> None:
    for line, _ in _STYLES[style]:
        miner = Miner()
        index = int(miner.ids([line])[0])

        values = miner.parameters(index, line)

        untyped = miner.template(index).untyped
        if untyped.count(WILD) == len(values):
            parts = untyped.split(WILD)
            filled = parts[0] + "".join(value + part for value, part in zip(values, parts[1:], strict=True))
            assert filled == " ".join(line.split())
        else:
            assert "HTTP/" in line or "<1 sec" in line, line
