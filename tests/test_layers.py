from __future__ import annotations

import ast
from pathlib import Path

import pytest

PACKAGE = Path(__file__).parents[1] / "pipeline" / "logllm"

# From the ground up. What stands in one row is side by side: it may not import each other.
LAYERS = (
    {"errors"},
    {"cause", "explanation"},
    {"events"},
    {"metrics"},
    {"database", "egress", "fields", "shared_file"},
    {"wasm", "wire", "audit"},
    {"sources", "filters", "templates", "detectors", "incidents", "explain", "notify", "actions", "sinks"},
    {"checkpoint", "report", "signals", "arrivals"},
    {"config"},
    {"filtering", "pipeline_state", "pipeline_changes", "pipeline_detectors", "pipeline_signals"},
    {"pipeline"},
    {"service", "doctor", "evaluation"},
    {"web", "guarantees"},
    {"cli"},
)
HEIGHT = {part: height for height, parts in enumerate(LAYERS) for part in parts}


def imported(source: str, module: str) -> set[str]:
    """The modules of logllm that a module's source imports, wherever in it, for types or to run.

    `logllm.NAME` stands for a name taken from the package itself. In an `__init__`, what is imported for a
    type checker alone does not count: there it declares names that are imported when they are first used.
    """
    is_package = module.endswith(".__init__")
    here = module.removesuffix(".__init__").split(".")
    tree = ast.parse(source)
    if is_package:
        tree.body = [node for node in tree.body if not _for_types(node)]
    found = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            base = node.module or ""
            if node.level:
                kept = here[: len(here) - node.level + is_package]
                base = ".".join([*kept, *([node.module] if node.module else [])])
            found |= {f"{base}.{alias.name}" for alias in node.names}
    return {name for name in found if name == "logllm" or name.startswith("logllm.")}


def _for_types(node: ast.stmt) -> bool:
    return isinstance(node, ast.If) and isinstance(node.test, ast.Name) and node.test.id == "TYPE_CHECKING"


def misplaced(source: str, module: str) -> list[str]:
    """The imports of a module that lead up or sideways, each as a sentence."""
    part = module.split(".")[1]
    wrong = []
    for name in sorted(imported(source, module)):
        target = name.partition(".")[2].partition(".")[0]
        if part == "__init__" or target in (part, "__version__"):
            continue
        if target not in HEIGHT:
            wrong.append(f"{module} imports {name}: take it from the module that defines it")
        elif HEIGHT[target] > HEIGHT[part]:
            wrong.append(f"{module} imports {name}: that is above it")
        elif HEIGHT[target] == HEIGHT[part]:
            wrong.append(f"{module} imports {name}: that is beside it")
    return wrong


def modules() -> list[tuple[str, Path]]:
    return [
        (".".join(("logllm", *path.relative_to(PACKAGE).with_suffix("").parts)), path)
        for path in sorted(PACKAGE.rglob("*.py"))
    ]


def test_every_part_of_the_package_has_its_layer() -> None:
    parts = {module.split(".")[1] for module, _ in modules()} - {"__init__", "__main__"}

    assert parts <= set(HEIGHT), "place the new part in LAYERS"


def test_imports_lead_down_never_up_or_sideways() -> None:
    known = [(module, path) for module, path in modules() if module.split(".")[1] in HEIGHT]

    wrong = [line for module, path in known for line in misplaced(path.read_text(encoding="utf-8"), module)]

    assert len(known) > 10
    assert wrong == []


@pytest.mark.parametrize(
    ("module", "source", "wrong"),
    [
        ("logllm.detectors.rate", "from logllm.events import Columns\nimport numpy", False),
        ("logllm.detectors.rate", "from logllm.detectors import keys\nfrom . import windows", False),
        ("logllm.detectors.rate", "from logllm.templates.miner import Miner", True),
        ("logllm.detectors.rate", "import logllm.pipeline", True),
        ("logllm.detectors.rate", "def f():\n    from ..templates import miner", True),
        ("logllm.detectors.rate", "if TYPE_CHECKING:\n    from logllm.config import Config", True),
        ("logllm.detectors.__init__", "if TYPE_CHECKING:\n    from logllm.config import Config", False),
        ("logllm.detectors.__init__", "from .. import config", True),
        ("logllm.sources.formats.syslog", "from .. import forward\nfrom ...errors import SourceError", False),
        ("logllm.sources.formats.syslog", "from ...cli import main", True),
        ("logllm.service", "from logllm import Pipeline", True),
        ("logllm.cli.main", "from logllm import __version__\nfrom logllm.web.app import app", False),
        ("logllm.events", "from logllm import errors", False),
        ("logllm.errors", "from logllm import events", True),
    ],
)
def test_the_walk_sees_every_way_to_write_an_import(module: str, source: str, wrong: bool) -> None:
    found = misplaced(source, module)

    assert bool(found) is wrong
