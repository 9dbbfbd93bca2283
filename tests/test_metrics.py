"""The table of metrics keeps its conventions, and the text is what Prometheus reads."""

from __future__ import annotations

import re
import subprocess
import sys

import pytest
from prometheus_client.parser import text_string_to_metric_families

from logllm.metrics import METRICS, Histogram, Value, render


def parsed(text: bytes) -> dict[str, float]:
    return {
        sample.name + "".join(f"[{key}={value}]" for key, value in sorted(sample.labels.items())): sample.value
        for family in text_string_to_metric_families(text.decode())
        for sample in family.samples
    }


@pytest.mark.parametrize("name", METRICS)
def test_names_help_and_labels_follow_the_conventions(name: str) -> None:
    metric = METRICS[name]

    assert metric.name == name
    assert re.fullmatch(r"logllm_[a-z][a-z0-9_]*", name)
    assert not name.endswith(("_total", "_count", "_sum", "_bucket"))
    assert not re.search(r"_(ms|milliseconds|minutes|kb|mb|kilobytes|megabytes|percent)$", name)
    assert metric.help.endswith(".")
    assert all(re.fullmatch(r"[a-z_]+", label) for label in metric.labels)
    # Of the reducer's there is a bounded number (tests/service/test_reduction.py).
    few = set() if not name.startswith("logllm_reduce_") else {"tag", "template"}
    assert not ({"tag", "peer", "template", "path"} - few) & set(metric.labels)


def test_counters_gauges_labels_and_histograms_are_rendered() -> None:
    seconds = Histogram((0.5, 1.0))
    for value in (0.2, 0.5, 0.7, 9.0):
        seconds.observe(value)

    text = render(
        {
            "logllm_forward_acks": 7,
            "logllm_learning": 1,
            "logllm_anomalies": {"rate": 2, "silence": 1},
            "logllm_component_discarded_events": {("reduce", "true"): 5},
            "logllm_explain_seconds": seconds,
        }
    )

    assert parsed(text) == {
        "logllm_forward_acks_total": 7,
        "logllm_learning": 1,
        "logllm_anomalies_total[detector=rate]": 2,
        "logllm_anomalies_total[detector=silence]": 1,
        "logllm_component_discarded_events_total[component=reduce][intentional=true]": 5,
        "logllm_explain_seconds_bucket[le=0.5]": 2,
        "logllm_explain_seconds_bucket[le=1.0]": 3,
        "logllm_explain_seconds_bucket[le=+Inf]": 4,
        "logllm_explain_seconds_count": 4,
        "logllm_explain_seconds_sum": pytest.approx(10.4),
    }


def test_every_metric_of_the_table_renders_and_parses() -> None:
    values: dict[str, Value] = {}
    for name, metric in METRICS.items():
        one: Value = {tuple("x" for _ in metric.labels): 1.0} if metric.labels else 1.0
        values[name] = Histogram((1.0,)) if metric.kind == "histogram" else one

    families = list(text_string_to_metric_families(render(values).decode()))

    assert [family.name for family in families] == list(METRICS)
    assert [family.type for family in families] == [metric.kind for metric in METRICS.values()]


def test_label_values_are_escaped() -> None:
    text = render({"logllm_forward_skipped_entries": {'a "quoted"\nreason\\': 1}})

    assert parsed(text) == {'logllm_forward_skipped_entries_total[reason=a "quoted"\nreason\\]': 1}


def test_a_name_that_is_not_in_the_table_is_a_bug() -> None:
    with pytest.raises(KeyError, match="logllm_typo"):
        render({"logllm_typo": 1})


def test_label_values_of_the_wrong_number_are_a_bug() -> None:
    with pytest.raises(ValueError, match="expected one each for"):
        render({"logllm_notify": {"slack": 1}})


def test_importing_the_table_loads_no_heavy_library() -> None:
    code = "import logllm.metrics, sys; print([name for name in sys.modules if name in ('prometheus_client', 'numpy')])"

    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, env=_env())

    assert out.stdout.strip() == "[]"


def _env() -> dict[str, str]:
    import os
    from pathlib import Path

    return os.environ | {"PYTHONPATH": str(Path(__file__).parents[1] / "pipeline")}
