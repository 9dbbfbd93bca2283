"""Labelled sessions: how files are read, how they are played through, and the figures on the real ones."""

from __future__ import annotations

import csv
import gzip
from collections.abc import Collection
from pathlib import Path

import numpy as np
import pytest

from logllm.errors import ConfigError, SourceError
from logllm.evaluation.session_files import SessionEvents, read_labels
from logllm.evaluation.sessions import Figures, SessionsResult, evaluate_sessions
from tests.bench.sessions import blocks, parts

HEAD = ["time", "trace", "message"]
TEXTS = ("begin of {}", "step 17 of {}", "saved {} in 5 ms", "end of {}")


def write(path: Path, head: list[str], rows: list[list[str]], *, delimiter: str = ",") -> Path:
    with gzip.open(path, "wt", newline="") if path.suffix == ".gz" else path.open("w", newline="") as file:
        writer = csv.writer(file, delimiter=delimiter)
        writer.writerows([head, *rows])
    return path


def log(sessions: int, *, broken: Collection[int] = (), cut: Collection[int] = ()) -> list[list[str]]:
    """Time, session and message: one session every ten seconds; some fail, some stop after the first step."""
    rows = []
    for number in range(sessions):
        name = f"t-{number:05d}"
        texts = list(TEXTS[:2]) if number in cut else list(TEXTS)
        if number in broken:
            texts.insert(2, "cannot save {}: disk full")
        rows += [[f"{1_700_000_000 + 10 * number + 2 * at}", name, text.format(name)] for at, text in enumerate(texts)]
    return sorted(rows, key=lambda row: int(row[0]))


def labels(sessions: int, odd: set[int]) -> list[list[str]]:
    return [[f"t-{number:05d}", "1" if number in odd else "0"] for number in range(sessions)]


@pytest.fixture
def files(tmp_path: Path) -> tuple[Path, Path]:
    """A thousand sessions: five fail, five are cut short, and one that looks like any other is labelled too."""
    odd = set(range(700, 705)) | set(range(800, 805))
    events = write(tmp_path / "events.csv", HEAD, log(1_000, broken=set(range(700, 705)), cut=set(range(800, 805))))
    return events, write(tmp_path / "labels.csv", ["trace", "label"], labels(1_000, odd | {900}))


def test_what_few_show_and_what_is_missing_is_flagged_after_the_warm_up(files: tuple[Path, Path]) -> None:
    found = evaluate_sessions(*files, session="trace")

    assert found.odd == [f"t-{number:05d}" for number in (*range(700, 705), *range(800, 805))]
    assert (found.sessions, found.warm_up, found.flagged, found.anomalous) == (500, 500, 10, 11)
    assert found.precision == 1.0
    assert found.recall == pytest.approx(10 / 11)
    assert found.f1 == pytest.approx(20 / 21)
    assert (found.events, found.templates) == (3_995, 5)


def test_the_warm_up_is_in_no_figure_but_its_own(files: tuple[Path, Path]) -> None:
    found = evaluate_sessions(*files, session="trace", warm_up=702)

    assert (found.sessions, found.warm_up, found.flagged, found.anomalous) == (298, 702, 8, 9)
    assert found.with_warm_up == Figures(16 / 19, 1.0, 8 / 11, 1_000, 8, 11)


def test_labels_are_read_for_the_figures_only(files: tuple[Path, Path], tmp_path: Path) -> None:
    turned = write(tmp_path / "turned.csv", ["trace", "label"], labels(1_000, set(range(0, 1_000, 2))))

    one, other = evaluate_sessions(*files, session="trace"), evaluate_sessions(files[0], turned, session="trace")

    assert one.odd == other.odd
    assert one.f1 != other.f1


def test_the_oracle_takes_the_best_threshold_and_ties_together(files: tuple[Path, Path]) -> None:
    found = evaluate_sessions(*files, session="trace")

    assert found.oracle.f1 >= found.f1
    assert found.oracle.flagged == 10
    assert found.oracle.recall == pytest.approx(10 / 11)


def test_sessions_without_a_label_and_labels_without_a_session_are_in_no_figure(
    files: tuple[Path, Path], tmp_path: Path
) -> None:
    some = [row for row in labels(1_001, {700, 1_000}) if row[0] != "t-00999"]
    path = write(tmp_path / "some.csv", ["trace", "label"], some)

    found = evaluate_sessions(files[0], path, session="trace")

    assert (found.sessions, found.unlabelled, found.without_events) == (499, 1, 1)
    assert found.anomalous == 1


def test_judged_when_idle_a_session_is_found_as_well(files: tuple[Path, Path]) -> None:
    at_the_end, idle = (
        evaluate_sessions(*files, session="trace", idle_s=idle_s, warm_up=300) for idle_s in (None, 600.0)
    )

    assert sorted(idle.odd) == sorted(at_the_end.odd)


@pytest.mark.parametrize(
    ("name", "head", "order", "session", "delimiter"),
    [
        ("events.csv.gz", ["Content", "BlockId", "Timestamp"], (2, 1, 0), "BlockId", ","),
        ("events.csv", ["session id", "ts", "log"], (1, 0, 2), "Session_ID", ";"),
        ("events.tsv", ["trace", "EventTemplate", "Message", "time"], (1, 1, 2, 0), "trace", "\t"),
    ],
)
def test_columns_may_have_other_names_and_orders(
    files: tuple[Path, Path], tmp_path: Path, name: str, head: list[str], order: list[int], session: str, delimiter: str
) -> None:
    rows = [
        [row[place] for place in order] for row in log(1_000, broken=set(range(700, 705)), cut=set(range(800, 805)))
    ]
    events = write(tmp_path / f"other-{name}", head, rows, delimiter=delimiter)

    found = evaluate_sessions(events, files[1], session=session)

    assert found.odd == evaluate_sessions(*files, session="trace").odd


def test_ids_of_events_do_where_there_are_no_messages(files: tuple[Path, Path], tmp_path: Path) -> None:
    rows = [
        [row[0], row[1], f"E-{row[2].split()[0]}"]
        for row in log(1_000, broken=set(range(700, 705)), cut=set(range(800, 805)))
    ]
    events = write(tmp_path / "ids.csv", ["time", "trace", "EventId"], rows)

    found = evaluate_sessions(events, files[1], session="trace")

    assert found.templates == 5
    assert found.odd == [f"t-{number:05d}" for number in (*range(700, 705), *range(800, 805))]


def test_without_times_order_is_enough_but_nothing_can_be_idle(files: tuple[Path, Path], tmp_path: Path) -> None:
    rows = [row[1:] for row in log(4_000, broken=set(range(2_700, 2_705)))]
    events = write(tmp_path / "untimed.csv", HEAD[1:], rows)

    found = evaluate_sessions(events, files[1], session="trace")

    assert found.odd == [f"t-{number:05d}" for number in range(2_700, 2_705)]
    with pytest.raises(ConfigError, match="no times can be read"):
        evaluate_sessions(events, files[1], session="trace", idle_s=600)


@pytest.mark.parametrize(
    ("cells", "expected"),
    [
        (["1700000000"], 1_700_000_000.0),
        (["1700000000123"], 1_700_000_000.123),
        (["2023-11-14T22:13:20"], 1_700_000_000.0),
        (["2023-11-14 22:13:20,500"], 1_700_000_000.5),
        (["2023-11-14T23:13:20+01:00"], 1_700_000_000.0),
        (["81109", "3615"], 1_226_190_975.0),
        (["yesterday"], None),
    ],
)
def test_times_are_read_as_they_are_written(tmp_path: Path, cells: list[str], expected: float | None) -> None:
    names = ["Date", "Time"] if len(cells) == 2 else ["time"]
    path = write(tmp_path / "one.csv", ["trace", "message", *names], [["a", "x", *cells]])

    rows = list(SessionEvents(path, session="trace").rows())

    assert rows == [("a", "x", expected if expected is None else pytest.approx(expected))]


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (("Anomaly", "Normal"), [True, False]),
        (("True", "FALSE"), [True, False]),
        (("1", "0"), [True, False]),
        (("2.0", "0.0"), [True, False]),
        (("fail", "success"), [True, False]),
    ],
)
def test_labels_say_it_in_several_ways(tmp_path: Path, words: tuple[str, str], expected: list[bool]) -> None:
    path = write(tmp_path / "labels.csv", ["Label", "BlockId"], [[words[0], "a"], [words[1], "b"]])

    assert list(read_labels(path, session="block_id").values()) == expected


@pytest.mark.parametrize(
    ("head", "row", "call", "message"),
    [
        (["time", "trace", "message"], ["1", "a", "x"], {"session": "span"}, "no column 'span', expected one of time"),
        (["time", "trace", "value"], ["1", "a", "x"], {"session": "trace"}, "no column looks like a message"),
        (["time", "trace", "message"], ["1", "a", "x"], {"session": "trace", "event": "text"}, "no column 'text'"),
        (["time", "trace", "message"], ["1", "", "x"], {"session": "trace"}, "no events of a session"),
    ],
)
def test_what_is_wrong_with_the_events_is_said_with_what_was_expected(
    files: tuple[Path, Path], tmp_path: Path, head: list[str], row: list[str], call: dict[str, str], message: str
) -> None:
    path = write(tmp_path / "wrong.csv", head, [row])

    with pytest.raises(ConfigError, match=message):
        evaluate_sessions(path, files[1], **call)  # type: ignore[arg-type]


def test_a_label_that_says_neither_is_refused_with_its_row(files: tuple[Path, Path], tmp_path: Path) -> None:
    path = write(tmp_path / "wrong.csv", ["trace", "label"], [["t-00000", "0"], ["t-00001", "perhaps"]])

    with pytest.raises(ConfigError, match=r"wrong\.csv: row 3 is labelled 'perhaps', expected Anomaly or Normal"):
        evaluate_sessions(files[0], path, session="trace")


def test_a_file_that_cannot_be_read_is_said_so(files: tuple[Path, Path], tmp_path: Path) -> None:
    damaged = tmp_path / "damaged.csv.gz"
    damaged.write_bytes(b"no gzip at all")

    for path in (damaged, tmp_path / "absent.csv"):
        with pytest.raises(SourceError, match="cannot read"):
            evaluate_sessions(path, files[1], session="trace")


def test_figures_of_nothing_are_zero() -> None:
    nothing = np.zeros(0, np.bool_)

    assert Figures.of(nothing, nothing) == Figures(0.0, 0.0, 0.0, 0, 0, 0)


def real(part: int, tmp_path: Path) -> SessionsResult:
    found = blocks()
    if found is None:
        pytest.skip("the labelled blocks are not beside the checkout: ../shared/data/hdfs")
    events, labels = found
    path = next(path for at, (_, path) in enumerate(parts(events, tmp_path)) if at == part)
    return evaluate_sessions(path, labels, session="block")


@pytest.mark.shared
def test_on_hdfs_blocks_the_label_free_f1_is_above_092(tmp_path: Path) -> None:
    found = real(0, tmp_path)

    assert found.f1 >= 0.94
    assert found.recall == 1.0
    assert (found.sessions, found.warm_up) == (5_236, 500)
    assert found.oracle.f1 - found.f1 < 0.005


@pytest.mark.shared
@pytest.mark.parametrize("part", [1, 2])
def test_on_a_random_half_of_the_blocks_it_is_too(part: int, tmp_path: Path) -> None:
    found = real(part, tmp_path)

    assert found.f1 >= 0.92
    assert found.recall == 1.0
