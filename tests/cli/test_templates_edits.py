"""`logllm templates list|show|rename|merge|pin`: what people make of templates, and that it reaches what is told."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from click.testing import CliRunner, Result
from hypothesis import given
from hypothesis import strategies as st

from logllm.checkpoint import save
from logllm.cli.main import main
from logllm.errors import ConfigError
from logllm.pipeline import Pipeline
from logllm.service.edits import EditsFile, as_toml, refresh
from logllm.sources.file import read_file
from logllm.templates.edits import TemplateEdits

LOG = """\
2026-11-22T10:00:00Z INFO took 5 ms for 10.0.0.1
2026-11-22T10:00:01Z INFO took 17 ms for 10.0.0.2
2026-11-22T10:00:02Z ERROR disk /dev/sda1 is full
2026-11-22T10:00:03Z INFO lasted 18 ms for 10.0.0.2
"""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A data folder in which something was learned."""
    log = tmp_path / "app.log"
    log.write_text(LOG)
    pipeline = Pipeline()
    for chunk in read_file(log):
        pipeline.feed(chunk)
    save(tmp_path / "state.msgpack", pipeline.state())
    return tmp_path


def _run(folder: Path, *arguments: str) -> Result:
    return CliRunner().invoke(main, ["templates", *arguments, "--data-dir", str(folder)])


def _listed(folder: Path) -> dict[str, dict[str, object]]:
    result = _run(folder, "list", "--json")
    assert result.exit_code == 0, result.output
    return {str(row["text"]): row for row in map(json.loads, result.stdout.splitlines())}


def test_what_was_learned_is_listed_most_frequent_first(folder: Path) -> None:
    result = _run(folder, "list", "-n", "1")

    assert result.exit_code == 0
    first, last = result.stdout.splitlines()
    assert first.split()[0] == "2"
    assert first.endswith("took <num> ms for <ip>")
    assert last == "and 2 more (-n, or --json for all)"


def test_a_name_is_shown_from_then_on_and_taken_away_again(folder: Path) -> None:
    identity = str(_listed(folder)["took <num> ms for <ip>"]["id"])

    named = _run(folder, "rename", identity[:6], "a request")

    assert named.exit_code == 0
    assert "a request" in _run(folder, "list").stdout
    assert "name      a request" in _run(folder, "show", identity).stdout
    assert _run(folder, "rename", identity, "").exit_code == 0
    assert "a request" not in _run(folder, "list").stdout


def test_merged_templates_are_one_and_both_ids_lead_to_it(folder: Path) -> None:
    rows = _listed(folder)
    first, second = str(rows["took <num> ms for <ip>"]["id"]), str(rows["lasted <num> ms for <ip>"]["id"])

    result = _run(folder, "merge", first, second)

    assert result.exit_code == 0
    after = _listed(folder)
    assert len(after) == len(rows) - 1
    assert after["took <num> ms for <ip>"]["count"] == 3
    assert after["took <num> ms for <ip>"]["aliases"] == [second]
    assert _run(folder, "show", second).stdout == _run(folder, "show", first).stdout


def test_a_pinned_text_is_listed_and_unpinned(folder: Path) -> None:
    assert _run(folder, "pin", "<*> <num> ms for <ip>").exit_code == 0

    assert _listed(folder)["<*> <num> ms for <ip>"]["pinned"] is True

    assert _run(folder, "unpin", "<*> <num> ms for <ip>").exit_code == 0
    assert "<*> <num> ms for <ip>" not in _listed(folder)


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("rename", "ffffffffffff", "x"), "'ffffffffffff': not known, expected an id"),
        (("rename", "", "x"), "expected an id"),
        (("merge", "ffffffffffff"), "not known"),
        (("unpin", "never pinned"), "never pinned"),
    ],
)
def test_what_cannot_be_edited_is_named_and_nothing_is_written(
    folder: Path, arguments: tuple[str, ...], said: str
) -> None:
    result = _run(folder, *arguments)

    assert result.exit_code == 2
    assert said in result.output
    assert EditsFile(folder).read() == TemplateEdits()


def test_a_folder_in_which_nothing_was_learned_says_so(tmp_path: Path) -> None:
    result = _run(tmp_path, "list")

    assert result.exit_code != 0
    assert "nothing was learned here yet" in result.output


def test_a_damaged_state_is_named_and_stays_where_it_is(folder: Path) -> None:
    (folder / "state.msgpack").write_bytes(b"logllm-state\n\xc1")

    result = _run(folder, "list")

    assert result.exit_code != 0
    assert "state.msgpack" in result.output
    assert [path.name for path in folder.iterdir() if "state" in path.name] == ["state.msgpack"]


def test_a_running_pipeline_takes_edits_when_the_file_changes_and_says_what_is_wrong_once(folder: Path) -> None:
    pipeline, file, notices = Pipeline(), EditsFile(folder), list[str]()
    for chunk in read_file(folder / "app.log"):
        pipeline.feed(chunk)
    refresh(file, pipeline, notices.append)
    before = {template.shown: template for template in pipeline.miner.templates()}
    first, second = before["took <num> ms for <ip>"], before["lasted <num> ms for <ip>"]

    file.change(lambda _: TemplateEdits(names={first.id: "a request"}, merges=((first.id, second.id),)))
    refresh(file, pipeline, notices.append)

    keys = {pipeline.template_text(key) for key in range(pipeline.keys.count) if pipeline.keys.total[key]}
    assert keys == {"a request", "disk <path> is full"}
    file.path.write_text("pins = 3")
    refresh(file, pipeline, notices.append)
    refresh(file, pipeline, notices.append)
    assert len(notices) == 1
    assert "templates.toml" in notices[0]
    assert {template.shown for template in pipeline.miner.templates()} == {"a request", "disk <path> is full"}


def test_counts_of_merged_templates_are_judged_as_one(folder: Path) -> None:
    pipeline = Pipeline()
    for chunk in read_file(folder / "app.log"):
        pipeline.feed(chunk)
    ids = {template.text: template.id for template in pipeline.miner.templates()}

    pipeline.edit_templates(TemplateEdits(merges=((ids["took <num> ms for <ip>"], ids["lasted <num> ms for <ip>"]),)))

    totals = [(pipeline.template_text(key), int(pipeline.keys.total[key])) for key in range(pipeline.keys.count)]
    assert ("took <num> ms for <ip>", 3) in totals


@given(
    st.dictionaries(st.from_regex(r"[0-9a-f]{12}", fullmatch=True), st.text(min_size=1, max_size=30), max_size=4),
    st.lists(st.text(min_size=1, max_size=30), max_size=4).map(tuple),
)
def test_any_text_comes_back_out_of_the_file_as_it_went_in(names: dict[str, str], pins: tuple[str, ...]) -> None:
    import tomllib

    edits = TemplateEdits(names=names, pins=pins)

    again = TemplateEdits.read(tomllib.loads(as_toml(edits)))

    def readable(text: str) -> str:
        return text.encode("utf-8", "replace").decode()

    assert again.names == {key: readable(text) for key, text in names.items()}
    assert again.pins == tuple(map(readable, pins))


def test_a_file_that_is_no_toml_names_itself(tmp_path: Path) -> None:
    (tmp_path / "templates.toml").write_text("[[")

    with pytest.raises(ConfigError, match=r"templates\.toml: not TOML"):
        EditsFile(tmp_path).read()
