"""`logllm eval llm`: how well language models explain labelled incidents, side by side."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING

import click

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from logllm.evaluation.llm import ModelResult, WordsResult

__all__ = ["llm"]


@click.command()
@click.argument("cases", required=False, type=click.Path())
@click.option("-c", "--config", "config_path", type=click.Path(), help="A TOML file: runbooks, egress, the model.")
@click.option(
    "--model",
    "models",
    multiple=True,
    help="A name from `logllm model list`, a .gguf file, or a URL; repeatable.  [default: the configured one]",
)
@click.option("--runbooks", multiple=True, type=click.Path(), help="A folder with runbooks of your own; repeatable.")
@click.option("-n", "limit", type=click.IntRange(min=1), help="At most so many cases, spread over all of them.")
@click.option("--json", "as_json", is_flag=True, help="One JSON object on standard output.")
def llm(
    cases: str | None,
    config_path: str | None,
    models: tuple[str, ...],
    runbooks: tuple[str, ...],
    limit: int | None,
    as_json: bool,
) -> None:
    """Compare models on the incidents of CASES: the runbook that is led to, what of a model's words stands, what it
    costs. Beside them, what is reached by words alone, and by BM25 alone.

    CASES has a JSON object a line: {"text": "line\\nline", "runbook": "disk-full"}, null where none fits. Without it
    ours are taken, which are of the runbooks that ship. One model after the other; the default one takes two to three
    seconds an incident on two cores.
    """
    import msgspec
    from msgspec.structs import replace

    from logllm.config import Config
    from logllm.evaluation.llm import CASES, evaluate_model, evaluate_words, read_cases
    from logllm.explain.runbooks.search import Catalogue

    config = Config() if config_path is None else Config.load(config_path)
    explain = replace(config.explain, runbooks=[*config.explain.runbooks, *runbooks])
    with Catalogue.load(explain.runbooks) as catalogue:
        rows = read_cases(CASES if cases is None else Path(cases), known=list(catalogue.by_id))
        if limit is not None and limit < len(rows):
            rows = [rows[at * len(rows) // limit] for at in range(limit)]
        words = evaluate_words(rows, catalogue)
    if not as_json:
        _show_words(words)
    results = []
    for model in models or (explain.model,):
        if not model:
            continue
        result = evaluate_model(model, rows, config=explain, egress=config.egress, progress=_progress(model, len(rows)))
        results.append(result)
        if not as_json:
            _show(result)
    if as_json:
        click.echo(msgspec.json.encode({"type": "eval", "words": words, "models": results}))


def _progress(model: str, cases: int) -> Callable[[int], None]:
    """A line that is rewritten on a terminal; nothing elsewhere."""
    shown = sys.stderr.isatty()

    def show(done: int) -> None:
        if shown:
            click.echo(f"\r{model[:60]}: {done} of {cases}" + ("\r\x1b[K" if done == cases else ""), err=True, nl=False)

    return show


def _share(part: int, whole: int) -> str:
    return f"{part} of {whole} ({100 * part / whole:.0f} %)" if whole else "none to see"


def _rows(rows: Sequence[tuple[str, str]]) -> None:
    for label, value in rows:
        click.echo(f"  {label:<22}{value}")


def _show_words(found: WordsResult) -> None:
    def told(right: int, none_right: int) -> str:
        none = _share(none_right, found.cases - found.with_runbook)
        return f"{_share(right, found.with_runbook)} right; of those that none fits, {none}"

    click.echo("no model")
    _rows(
        (
            ("BM25 alone", told(found.bm25_right, found.bm25_none_right)),
            ("words and signals", told(found.words_right, found.words_none_right)),
        )
    )


def _show(found: ModelResult) -> None:
    from logllm.cli.render_text import neutral, size

    without = found.cases - found.with_runbook
    sure = ((found.confidence_right, "right"), (found.confidence_wrong, "wrong"))
    click.echo(f"{neutral(found.model, 80)}")
    rows = [
        ("runbook", _share(found.right, found.with_runbook) + " right"),
        ("none fits", _share(found.none_right, without)),
        ("a wrong runbook", _share(found.wrong, found.cases)),
        ("its own pick", _share(found.picked, found.cases) + " right"),
        ("evidence ids", _share(found.cited_known, found.cited) + " exist"),
        ("sentences", _share(found.told_kept, found.told) + " stood the checks"),
        ("confidence", ", ".join(f"{mean:.2f} where {which}" for mean, which in sure if mean is not None) or "none"),
        ("no usable answer", _share(found.failed, found.cases)),
        ("time", f"median {found.median_s:.2f} s an incident, slowest {found.slowest_s:.2f} s"),
        ("tokens", f"{found.tokens / found.cases:.0f} an incident"),
    ]
    if found.written_per_s:
        rows.append(("speed", f"reads {found.read_per_s:.0f}, writes {found.written_per_s:.0f} tokens/s"))
    if found.memory_bytes:
        rows.append(("memory", f"{size(found.memory_bytes)}; started in {found.cold_start_s:.2f} s"))
    _rows(rows)
