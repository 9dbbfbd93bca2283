from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest
from click.testing import CliRunner

from logllm.cli.main import main

LOG = """\
2026-11-22T10:00:00Z INFO took 5 ms for 10.0.0.1
2026-11-22T10:00:01Z INFO took 17 ms for 10.0.0.2
2026-11-22T10:00:02Z ERROR disk /dev/sda1 is full
2026-11-22T10:00:03Z INFO took 18 ms for 10.0.0.2
"""


def _lines(*arguments: str, text: str | None = None) -> list[dict[str, object]]:
    result = CliRunner().invoke(main, ["templates", "--once", "--json", *arguments], input=text)
    assert result.exit_code == 0, result.output
    return [json.loads(line) for line in result.stdout.splitlines()]


def test_each_line_is_given_its_template_as_it_stands_at_the_end(tmp_path: Path) -> None:
    log = tmp_path / "app.log"
    log.write_text(LOG)

    lines = _lines(str(log))

    assert [line["line"] for line in lines] == [1, 2, 3, 4]
    assert lines[0]["template"] == "took <num> ms for <ip>"
    assert len({line["id"] for line in lines}) == 2
    assert lines[0]["id"] == lines[1]["id"] == lines[3]["id"]


def test_a_text_that_generalises_late_changes_the_lines_before_it(tmp_path: Path) -> None:
    log = tmp_path / "names.csv"
    words = ("alpha", "beta", "gamma", "delta", "omega", "kappa", "sigma", "theta")
    log.write_text(
        "n,Content\n" + "".join(f"{n},volume {word} was mounted on the host\n" for n, word in enumerate(words))
    )

    lines = _lines("--column", "Content", "--untyped", str(log))

    assert [line["line"] for line in lines] == list(range(1, 9))
    assert {line["template"] for line in lines} == {"volume <*> was mounted on the host"}
    assert len({line["id"] for line in lines}) == 1


def test_untyped_parameters_are_all_alike(tmp_path: Path) -> None:
    log = tmp_path / "app.log"
    log.write_text(LOG)

    assert _lines("--untyped", str(log))[0]["template"] == "took <*> ms for <*>"


def test_a_record_of_several_lines_is_told_by_its_first(tmp_path: Path) -> None:
    log = tmp_path / "app.log"
    log.write_text(LOG.replace("is full\n", "is full\n\tat a.b.C(D.java:1)\n\tat a.b.E(F.java:2)\n"))

    assert [line["line"] for line in _lines(str(log))] == [1, 2, 3, 6]


def test_standard_input_is_read_too() -> None:
    assert len(_lines("-", text=LOG)) == 4


def test_an_empty_file_has_no_lines(tmp_path: Path) -> None:
    (tmp_path / "empty.log").write_text("")

    assert _lines(str(tmp_path / "empty.log")) == []


def test_a_person_is_shown_the_most_frequent_first(tmp_path: Path) -> None:
    log = tmp_path / "app.log"
    log.write_text(LOG)

    result = CliRunner().invoke(main, ["templates", str(log), "-n", "1"])

    assert result.exit_code == 0
    first, last = result.stdout.splitlines()
    assert first.split()[0] == "3"
    assert first.endswith("took <num> ms for <ip>")
    assert last == "4 records in 4 lines, 2 templates, of which 1 are not shown (-n)"


def test_hostile_text_does_not_reach_the_terminal(tmp_path: Path) -> None:
    log = tmp_path / "app.csv"
    log.write_text("Content\n\x1b]0;owned\x07\x1b[31m red alert\n")

    result = CliRunner().invoke(main, ["templates", "--column", "Content", str(log)])

    assert "\x1b" not in result.output
    assert "red alert" in result.output


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("--column", "Nothing"), "no column 'Nothing', expected one of n, Content"),
        (("--format", "nonsense"), "nonsense"),
        (("--tz", "Nowhere/At_All"), "Nowhere/At_All"),
    ],
)
def test_a_wrong_option_is_named(tmp_path: Path, arguments: tuple[str, ...], said: str) -> None:
    (tmp_path / "a.csv").write_text("n,Content\n1,took 5 ms\n")

    result = CliRunner().invoke(main, ["templates", *arguments, str(tmp_path / "a.csv")])

    assert result.exit_code == 2
    assert said in result.output


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    for column in ((), ("--column", "Content")):
        result = CliRunner().invoke(main, ["templates", *column, str(tmp_path / "no.log")])

        assert result.exit_code != 0
        assert "no.log: cannot read" in result.output or "no.log: no such file" in result.output.lower()


def test_a_full_disk_is_told_in_one_line(tmp_path: Path) -> None:
    log = tmp_path / "app.log"
    log.write_text(LOG)
    with Path("/dev/full").open("wb") as full:
        done = subprocess.run(
            [sys.executable, "-m", "logllm.cli", "templates", "--json", log],
            stdout=full,
            stderr=subprocess.PIPE,
            text=True,
            check=False,
        )

    assert (done.returncode, done.stderr) == (1, "logllm: cannot write: No space left on device\n")


def test_what_stands_in_a_file_cannot_write_to_the_terminal_by_an_error(tmp_path: Path) -> None:
    table = tmp_path / "a.csv"
    table.write_text("\x1b[2Jn,Con\u202etent\n", encoding="utf-8")

    result = CliRunner().invoke(main, ["templates", "--column", "No\x1b]0;x", str(table)])

    assert result.exit_code == 2
    assert "expected one of" in result.output
    assert not {"\x1b", "\u202e"} & set(result.output)


def test_a_word_that_is_neither_a_file_nor_a_command_is_told_of_both(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("plain").write_text(LOG)

    wrong = CliRunner().invoke(main, ["templates", "lst"])
    right = CliRunner().invoke(main, ["templates", "plain"])

    assert wrong.exit_code == 2
    assert "no file and no command 'lst'; commands are list, show, rename, merge, pin, unpin" in wrong.output
    assert right.exit_code == 0
