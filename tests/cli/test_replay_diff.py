"""`logllm replay --diff`: what another configuration would have told."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from click.testing import CliRunner, Result
from hypothesis import given
from hypothesis import strategies as st

from logllm.cli.main import main
from logllm.events import IncidentEvent, rfc3339
from logllm.incidents.store import IncidentStore
from logllm.service.replay_diff import compare

SAMPLE = "samples/kubernetes.log"
DAY_S = 86_400


def _incident(
    number: int, start_s: float, *, service: str = "api", fingerprint: str = "f", severity: str = "warning"
) -> IncidentEvent:
    return IncidentEvent(
        id=f"inc-{number}",
        event="resolve",
        time=rfc3339(int((start_s + 60) * 1e9)),
        severity=severity,  # type: ignore[arg-type]
        service=service,
        kinds=["rate"],
        title="t",
        expected="",
        seen="",
        template=f"of {fingerprint}",
        count=1,
        runbook=None,
        evidence=[],
        started=rfc3339(int(start_s * 1e9)),
        fingerprint=fingerprint,
    )


def _run(*arguments: str) -> Result:
    return CliRunner().invoke(main, ["replay", "--diff", *arguments])


def test_a_smaller_budget_tells_fewer_and_says_which(tmp_path: Path) -> None:
    config = tmp_path / "one.toml"
    config.write_text("[detect]\nalerts_per_day = 1\n")

    result = _run("--config", str(config), "--json", SAMPLE)

    assert result.exit_code == 0
    *differences, summary = [json.loads(line) for line in result.stdout.splitlines()]
    assert {one["change"] for one in differences} == {"same", "removed"}
    assert summary["removed"] == sum(one["change"] == "removed" for one in differences) > 0
    assert summary["per_day_after"] < summary["per_day_before"]


def test_the_same_settings_tell_the_same() -> None:
    result = _run(SAMPLE)

    assert result.exit_code == 0
    last = result.stdout.splitlines()[-1]
    assert last.startswith("against the built-in settings: 0 more, 0 fewer, ")


def test_what_was_really_told_is_compared_with(tmp_path: Path) -> None:
    store = IncidentStore(tmp_path / "logllm.db")
    store.put(_incident(1, 1_700_000_000.0, service="gone"))
    store.close()

    result = _run("--against", str(tmp_path), "--json", "samples/quiet.log")

    differences = [json.loads(line) for line in result.stdout.splitlines()][:-1]
    assert [one["incident"]["service"] for one in differences if one["change"] == "removed"] == ["gone"]


def test_what_came_before_since_is_learned_from_and_not_compared() -> None:
    whole = _run("--json", SAMPLE)
    late = _run("--json", "--since", "2026-03-12T12:30:00Z", SAMPLE)

    def started(result: Result) -> list[str]:
        return [json.loads(line)["incident"]["started"] for line in result.stdout.splitlines()[:-1]]

    assert started(late) == [start for start in started(whole) if start >= "2026-03-12T12:30"]
    assert started(late)


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("--proof",), "leave out --reduce"),
        (("--out", "x.ndjson"), "leave out --reduce"),
        (("--against", "no/such.toml"), "no/such.toml: cannot read"),
        (("--since", "sometime"), "sometime"),
    ],
)
def test_options_that_do_not_fit_are_named(arguments: tuple[str, ...], said: str) -> None:
    result = _run(*arguments, SAMPLE)

    assert result.exit_code == 2
    assert said in result.output


def test_since_without_diff_is_an_error() -> None:
    result = CliRunner().invoke(main, ["replay", "--since", "-1h", SAMPLE])

    assert result.exit_code == 2
    assert "give --diff too" in result.output


def test_an_empty_data_folder_says_what_is_missing(tmp_path: Path) -> None:
    result = _run("--against", str(tmp_path), SAMPLE)

    assert result.exit_code != 0
    assert "no incidents were kept here" in result.output


def test_an_incident_has_one_partner_the_nearest_of_its_own_fingerprint() -> None:
    before = [_incident(1, 0.0), _incident(2, 1000.0)]
    after = [_incident(3, 1010.0), _incident(4, 5_000.0)]

    differences, summary = compare(before, after, None, None)

    assert [(one.incident.id, one.change) for one in differences] == [
        ("inc-1", "removed"),
        ("inc-3", "same"),
        ("inc-4", "added"),
    ]
    assert (summary.added, summary.removed, summary.same, summary.severity) == (1, 1, 1, 0)


def test_another_severity_is_a_difference_of_its_own() -> None:
    differences, _ = compare([_incident(1, 0.0)], [_incident(1, 0.0, severity="critical")], None, None)

    assert [(one.change, one.before, one.incident.severity) for one in differences] == [
        ("severity", "warning", "critical")
    ]


def test_a_day_is_counted_over_the_time_compared() -> None:
    _, summary = compare([], [_incident(n, n * DAY_S / 2) for n in range(9)], 0.0, 4.0 * DAY_S)

    assert (summary.days, summary.per_day_after) == (4.0, 2.25)


_MANY = st.lists(
    st.builds(
        _incident,
        st.integers(0, 10**6),
        st.floats(0, 20_000),
        service=st.sampled_from(["a", "b"]),
        fingerprint=st.sampled_from(["x", "y"]),
    ),
    max_size=12,
    unique_by=lambda event: event.id,
)


@given(_MANY, _MANY)
def test_every_incident_of_both_sides_is_accounted_for_once(
    before: list[IncidentEvent], after: list[IncidentEvent]
) -> None:
    differences, summary = compare(before, after, None, None)

    assert len(before) == summary.removed + summary.same + summary.severity
    assert len(after) == summary.added + summary.same + summary.severity
    assert len(differences) == summary.added + summary.removed + summary.same + summary.severity


@given(_MANY)
def test_a_side_compared_with_itself_has_no_difference(events: list[IncidentEvent]) -> None:
    _, summary = compare(events, events, None, None)

    assert (summary.added, summary.removed, summary.severity) == (0, 0, 0)
