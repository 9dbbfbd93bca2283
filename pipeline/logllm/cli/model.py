"""`logllm model`: fetch, list, find and remove language models."""

from __future__ import annotations

import sys
import time
from typing import TYPE_CHECKING

import click

if TYPE_CHECKING:
    from collections.abc import Callable

    from rich.progress import Progress, TaskID

__all__ = ["model"]


@click.group()
def model() -> None:
    """Language models that run on this machine.

    Kept in LOGLLM_MODELS, else in the XDG data folder. Nothing is downloaded unless asked for here.
    """


@model.command()
@click.argument("name", required=False)
def pull(name: str | None) -> None:
    """Download the model NAME (default: the small one logllm explains with), verified, resumed where it broke off.

    NAME is one of `logllm model list --available` or `hf:OWNER/REPO/FILE.gguf`. HF_ENDPOINT and HF_TOKEN are honoured.
    """
    from logllm.explain.model.models import DEFAULT_MODEL, ModelStore

    wanted = name or DEFAULT_MODEL
    store = ModelStore()
    if sys.stderr.isatty():
        with _bar() as bar:
            path = store.pull(wanted, _on_bar(bar, bar.add_task(wanted, total=None)))
    else:
        path = store.pull(wanted, _lines(wanted))
    click.echo(str(path))


@model.command(name="list")
@click.option("--available", is_flag=True, help="List what can be pulled, too.")
def list_models(available: bool) -> None:
    """List the models that are here: name, size, licence, file."""
    from logllm.explain.model.models import ModelStore

    store = ModelStore()
    here = {installed.name: installed for installed in store.list()}
    for installed in here.values():
        size = _size(installed.size_bytes)
        click.echo(f"{installed.name:<16} {size:>8}  {installed.license:<20} {store.folder / installed.file}")
    if available:
        for spec in store.catalogue.values():
            if spec.name not in here:
                click.echo(f"{spec.name:<16} {_size(spec.size_bytes):>8}  {spec.license:<20} {spec.title} (not here)")
    elif not here:
        click.echo(f"No model in {store.folder}. Get one with `logllm model pull`.", err=True)


@model.command()
@click.argument("name", required=False)
def path(name: str | None) -> None:
    """Print the file of the model NAME (default: the small one); without it, exit code 1."""
    from logllm.explain.model.models import DEFAULT_MODEL, ModelStore

    click.echo(str(ModelStore().path(name or DEFAULT_MODEL)))


@model.command()
@click.argument("name")
def rm(name: str) -> None:
    """Delete the model NAME and what is left of a broken download."""
    from logllm.explain.model.models import ModelStore

    freed = ModelStore().remove(name)
    click.echo(f"{name}: removed, {_size(freed)} freed")


def _size(size_bytes: int) -> str:
    return f"{size_bytes / 1e9:.1f} GB" if size_bytes >= 1e9 else f"{size_bytes / 1e6:.0f} MB"


def _bar() -> Progress:
    from rich.console import Console
    from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TimeRemainingColumn, TransferSpeedColumn

    return Progress(
        TextColumn("{task.description}"),
        BarColumn(),
        DownloadColumn(),
        TransferSpeedColumn(),
        TimeRemainingColumn(),
        console=Console(stderr=True),
    )


def _on_bar(bar: Progress, task: TaskID) -> Callable[[int, int | None], None]:
    def show(done: int, total: int | None) -> None:
        bar.update(task, completed=done, total=total)

    return show


def _lines(
    name: str, clock: Callable[[], float] = time.monotonic, every_s: float = 3.0
) -> Callable[[int, int | None], None]:
    """One line every few seconds, for logs and pipes."""
    last = clock() - every_s

    def show(done: int, total: int | None) -> None:
        nonlocal last
        now = clock()
        if now - last < every_s and done != total:
            return
        last = now
        whole = f" of {_size(total)} ({100 * done // total} %)" if total else ""
        click.echo(f"{name}: {_size(done)}{whole}", err=True)

    return show
