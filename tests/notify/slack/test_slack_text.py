from __future__ import annotations

import time
import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from logllm.notify.slack import text as slack_text
from logllm.notify.slack.text import cell, code, instruction, literal, plain, preformatted, prose, shortened, width
from tests.notify.slack.mrkdwn import read, suspicious

ANY = st.text(alphabet=st.characters(exclude_categories=()), max_size=120)
MARKED = st.text(alphabet="*_~`<>&|!@#:./\\ aé\n\u0301\u202e\u200b😀", max_size=60)
TEXTS = ANY | MARKED


@given(TEXTS, st.integers(20, 80))
def test_any_text_is_harmless_as_prose_and_fits(text: str, limit: int) -> None:
    shown = prose(text, limit)

    assert width(shown) <= limit
    assert "\n" not in shown
    assert suspicious(f"before {shown} after") == []
    assert [span.kind for span in read(shown)] in ([], ["text"])


@given(TEXTS, st.integers(20, 80))
def test_any_text_is_harmless_as_code_and_fits(text: str, limit: int) -> None:
    shown = code(text, limit)

    assert width(shown) <= limit
    assert suspicious(shown) == []
    assert [span.kind for span in read(shown)] in ([], ["code"])


@given(st.lists(TEXTS, max_size=6), st.integers(40, 200))
def test_any_lines_stay_lines_of_one_block(texts: list[str], limit: int) -> None:
    shown = preformatted([literal(text, 60) for text in texts], limit)

    assert width(shown) <= limit
    assert suspicious(shown) == []
    assert [span.kind for span in read(shown)] in ([], ["pre"])
    assert shown.count("\n") <= len(texts) + 2


@given(TEXTS, st.integers(20, 80))
def test_any_text_has_no_character_in_a_header_that_slack_might_read_as_markup(text: str, limit: int) -> None:
    shown = plain(text, limit)

    assert width(shown) <= limit
    assert not set(shown) & set("&<>\n")
    assert suspicious(shown.translate(str.maketrans("", "", "*_~`"))) == []


@given(TEXTS, st.integers(20, 80))
def test_any_step_has_at_most_code_in_it(text: str, limit: int) -> None:
    shown = instruction(text, limit)

    assert width(shown) <= limit
    assert suspicious(shown) == []
    assert {span.kind for span in read(shown)} <= {"text", "code"}


@given(TEXTS, st.integers(4, 30))
def test_any_cell_is_as_wide_as_its_column(text: str, columns: int) -> None:
    shown = cell(text, columns).replace("&lt;", "<").replace("&gt;", ">").replace("&amp;", "&")

    letters = [
        char for char in shown if unicodedata.category(char)[0] != "M" and not "\U0001f3fb" <= char <= "\U0001f3ff"
    ]
    assert sum(1 + (unicodedata.east_asian_width(char) in "WF") for char in letters) == columns


@pytest.mark.parametrize(
    ("hostile", "shown"),
    [
        (
            "<!channel> <!here|here> <@U061F7AUR> <#C1|x>",
            "&lt;!channel&gt; &lt;!here|here&gt; &lt;@\u2060U061F7AUR&gt;",
        ),
        ("<https://evil.example|click>", "&lt;https:\u2060//evil.\u2060example|click&gt;"),
        ("@here and #general", "@\u2060here and #\u2060general"),
        ("mail a@b.com", "mail a@\u2060b.\u2060com"),
        ("*b* _i_ ~s~ `c`", "∗b∗ ˍiˍ ∼s∼ ˋcˋ"),
        ("snake_case_name stays", "snake_case_name stays"),
        ("> quote", "› quote"),
        (":rotating_light:", ":\u2060rotating_light:"),
        ("a\r\n\r\n\n\tb", "a ⏎ b"),
        ("\x1b[31mred\x07", "␛[31mred␇"),
        ("\u202egnp.exe\u2066", "\\u202egnp.\u2060exe\\u2066"),
        ("a\u200bb\ufeffc\U000e0041d", "a\\u200bb\\ufeffc\\U000e0041d"),
        ("\ud83d lone", "\\ud83d lone"),
        ("a\u00a0\u3000b", "a b"),
        ("Z\u0301\u0301\u0301\u0301\u0301\u0301", "Z\u0301\u0301\u0301"),
        ("&lt;!channel&gt;", "&amp;lt;!channel&amp;gt;"),
    ],
)
def test_what_is_hostile_is_shown_and_does_nothing(hostile: str, shown: str) -> None:
    assert prose(hostile, 500).startswith(shown)


def test_a_cut_is_marked_and_never_within_an_escape_or_an_accent() -> None:
    escapes, accents, emoji = "&" * 50, "e\u0301" * 50, "😀" * 50

    for limit in range(10, 30):
        assert prose(escapes, limit) == "&amp;" * ((limit - 1) // 5) + "…"
        assert prose(accents, limit) == "e\u0301" * ((limit - 1) // 2) + "…"
        assert prose(emoji, limit) == "😀" * ((limit - 1) // 2) + "…"


def test_what_fits_exactly_is_not_cut() -> None:
    assert prose("x" * 40, 40) == "x" * 40
    assert prose("x" * 41, 40) == "x" * 39 + "…"


def test_a_command_keeps_its_characters_and_touches_no_word() -> None:
    told = instruction("run`nc -vz db_1 5432`now, see `a<b>&c` and https://x.example", 200)

    assert told.startswith("run `nc -vz db_1 5432` now, see `a&lt;b&gt;&amp;c` and https:\u2060//")


def test_a_text_of_a_megabyte_costs_no_more_than_its_beginning() -> None:
    began = time.perf_counter()

    for unit in ("x", "<!here> ", "\n", "\ufe0f", "`", "e\u0301", "https://a.b ", "😀"):
        huge = unit * (1_000_000 // len(unit))
        for function in (prose, plain, code, literal, instruction):
            assert width(function(huge, 300)) <= 300

    assert time.perf_counter() - began < 2.0


def test_whole_lines_of_ours_are_left_out_where_there_is_no_room() -> None:
    assert shortened("one\ntwo", 7) == "one\ntwo"
    assert shortened("x" * 30, 9) == "…"


def test_every_public_way_in_is_tested_here() -> None:
    assert set(slack_text.__all__) == {
        "MARK", "cell", "code", "instruction", "literal", "plain", "preformatted", "prose", "shortened", "width",
    }  # fmt: skip
