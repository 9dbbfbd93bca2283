from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from logllm.errors import ConfigError
from logllm.explain.runbooks.search import FITS, Catalogue, Runbook, commands_of, parse_runbook
from logllm.explain.runbooks.words import terms

GOOD = """+++
id = "disk-full"
title = "Disk full"
signals = ["No space left on device"]
risk = "high"
owner = "storage"
+++

## What it is

A file system is full.

## Check

- Which one: `df -h`
  and `df -i`

## Do

1. Free some:
   ```sh
   rm `x`
   du -sh /var
   ```
2. Extend it.

## Notes

Anything.
"""


def test_a_runbook_is_read_with_its_items_and_fenced_commands() -> None:
    runbook = parse_runbook(GOOD)

    assert (runbook.id, runbook.risk, runbook.owner) == ("disk-full", "high", "storage")
    assert runbook.what == "A file system is full."
    assert runbook.checks == ["Which one: `df -h` and `df -i`"]
    assert runbook.steps == ["Free some: `rm 'x'` `du -sh /var`", "Extend it."]
    assert commands_of(runbook) == ["df -h", "df -i", "rm 'x'", "du -sh /var"]
    assert runbook.body.startswith("## What it is")
    assert runbook.body.endswith("Anything.")


@pytest.mark.parametrize(
    ("old", "new", "line", "expected"),
    [
        ("+++\nid", "id", 1, "`+++`"),
        ("+++\n\n## What", "## What", 28, "second `+++`"),
        ('title = "Disk full"', 'title = "Disk full', 3, "TOML"),
        ('title = "Disk full"', "title = 3", 3, "Expected `str`, got `int`"),
        ('title = "Disk full"', 'tittle = "Disk full"', 3, "unknown field `tittle`"),
        ('risk = "high"', 'risk = "huge"', 5, "Invalid enum value 'huge'"),
        ('id = "disk-full"', 'id = "Disk Full"', 2, "lower-case"),
        ('signals = ["No space left on device"]', "signals = []", 4, "1 to 120 phrases"),
        ("## Check", "## Checks", 29, "`## Check`"),
        ("- Which one", "Which one", 15, "list item"),
        ("A file system is full.", "", 10, "text under"),
        ("## Notes", "## Do", 28, "one section"),
    ],
)
def test_a_bad_file_is_refused_with_its_line_and_what_was_expected(
    tmp_path: Path, old: str, new: str, line: int, expected: str
) -> None:
    assert old in GOOD
    (tmp_path / "x.md").write_text(GOOD.replace(old, new, 1))

    with pytest.raises(ConfigError) as caught:
        Catalogue.load([tmp_path], shipped=False)

    message = str(caught.value)
    assert expected in message
    found = int(message.split("x.md:")[1].split(":")[0])
    assert abs(found - line) <= 1


def test_bytes_that_are_not_utf_8_are_named_by_line(tmp_path: Path) -> None:
    (tmp_path / "x.md").write_bytes(GOOD.encode().replace(b"Anything", b"Any\xffthing"))

    with pytest.raises(ConfigError, match=r"x\.md:29: Expected UTF-8, got byte 0xff"):
        Catalogue.load([tmp_path], shipped=False)


def test_a_folder_that_is_not_there_is_a_config_error(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="folder of runbooks"):
        Catalogue.load([tmp_path / "none"])


def test_one_id_twice_in_a_folder_is_refused(tmp_path: Path) -> None:
    (tmp_path / "a.md").write_text(GOOD)
    (tmp_path / "b.md").write_text(GOOD)

    with pytest.raises(ConfigError, match=r"b\.md:2: .*a\.md"):
        Catalogue.load([tmp_path], shipped=False)


def test_a_users_file_with_the_same_id_replaces_ours(tmp_path: Path) -> None:
    (tmp_path / "mine.md").write_text(GOOD.replace("Disk full", "Call Ann"))
    (tmp_path / "README.md").write_text("not a runbook")

    with Catalogue.load([tmp_path]) as catalogue:
        assert catalogue.by_id["disk-full"].title == "Call Ann"
        assert len(catalogue) > 1
        found = catalogue.best("write: no space left on device")

    assert found is not None
    assert found.title == "Call Ann"


@pytest.mark.parametrize(
    ("line", "wanted"),
    [
        ("write failed: No space left on device", "disk-full"),
        ("java.io.IOException: ENOSPC while writing /var/lib/kafka/00001.log", "disk-full"),
        ("caught NoSpaceLeftOnDevice error", "disk-full"),
        ("Failed password for invalid user carol from <ip_1> port 38010 ssh2", "ssh-brute-force"),
        ("FATAL: sorry, too many clients already", "db-pool-exhausted"),
    ],
)
def test_a_line_that_shows_a_problem_finds_its_runbook(catalogue: Catalogue, line: str, wanted: str) -> None:
    found = catalogue.best(line)

    assert found is not None
    assert found.id == wanted


@pytest.mark.parametrize(
    "line",
    [
        "GET /index.html 200 12ms",
        "user 12 logged in",
        "device sensor-3 connected",
        "",
        "\x00\x01",
        "12345 67",
        "<ip_1>",
    ],
)
def test_a_line_that_shows_none_finds_none(catalogue: Catalogue, line: str) -> None:
    assert catalogue.best(line) is None


def test_search_orders_by_score_and_keeps_to_its_limit(catalogue: Catalogue) -> None:
    matches = catalogue.search("Failed password for invalid user x\nno space left on device", limit=2)

    assert [match.runbook.id for match in matches] == ["ssh-brute-force", "disk-full"] or len(matches) == 2
    assert matches[0].score >= matches[1].score
    assert all(match.signal >= FITS for match in matches)


def test_words_of_fts5s_query_language_are_only_words(catalogue: Catalogue) -> None:
    for text in ('NEAR("a" b)', "AND OR NOT", '"', "title:disk*", "a^2 - (b", "'; DROP TABLE book; --"):
        catalogue.search(text)

    assert catalogue.best("no space left on device") is not None


def test_the_digest_changes_with_any_runbook(runbooks: list[Runbook]) -> None:
    with Catalogue(runbooks) as whole, Catalogue(runbooks[:2]) as less, Catalogue(runbooks) as again:
        assert whole.digest == again.digest != less.digest


@settings(max_examples=60, deadline=None)
@given(st.text(max_size=300))
def test_any_text_is_a_runbook_or_a_config_error(text: str) -> None:
    for given_text in (
        text,
        f"+++\n{text}\n+++\n## What it is\nx\n## Check\n- y\n## Do\n- z\n",
        GOOD.replace("Extend it.", text),
    ):
        try:
            runbook = parse_runbook(given_text)
        except ConfigError as error:
            message = str(error)
        else:
            message = f"<text>:{runbook.id}"
        assert message.startswith("<text>:")


@settings(max_examples=60, deadline=None)
@given(st.text(max_size=200))
def test_any_text_can_be_searched_and_split(text: str) -> None:
    with Catalogue([parse_runbook(GOOD)]) as catalogue:
        for match in catalogue.search(text):
            assert 0.0 <= match.signal <= 1.0
    assert all(word and word == word.lower() for word in terms(text))
