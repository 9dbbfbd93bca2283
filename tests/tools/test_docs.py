"""`make docs`: what is generated is what the code says."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from types import ModuleType

import pytest

from logllm.metrics import METRICS

ROOT = Path(__file__).parents[2]


@pytest.fixture
def docs() -> ModuleType:
    spec = importlib.util.spec_from_file_location("tools_docs", ROOT / "tools" / "docs.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_the_pages_have_the_metrics_that_the_code_has(docs: ModuleType) -> None:
    text = (ROOT / "docs" / "operations.md").read_text(encoding="utf-8")

    assert docs.generated(text, "none\n") != text, "the place of the table is gone"
    assert docs.generated(text, docs.metrics_table()) == text, "run `make docs`"


def test_a_metric_that_nobody_gives_a_value_is_left_out_and_one_that_somebody_does_is_there(
    docs: ModuleType, tmp_path: Path
) -> None:
    folder = tmp_path / "pipeline" / "logllm" / "service"
    folder.mkdir(parents=True)
    (folder / "a.py").write_text('values = {"logllm_templates": 7, "logllm_windows": 8}\n', encoding="utf-8")

    table = docs.metrics_table(tmp_path)

    assert table.splitlines()[2:] == [
        f"| `logllm_templates` | gauge |  | {METRICS['logllm_templates'].help} |",
        f"| `logllm_windows_total` | counter |  | {METRICS['logllm_windows'].help} |",
    ]


def test_what_stands_around_the_table_stays_as_it_is(docs: ModuleType) -> None:
    page = "# Page\n\n<!-- metrics: written by x -->\nold\n<!-- metrics: end -->\n\nmore\n"

    fresh = docs.generated(page, "new\n")

    assert fresh == page.replace("old", "new")
    assert docs.generated(fresh, "new\n") == fresh
    assert docs.generated("# Another page\n", "new\n") == "# Another page\n"
