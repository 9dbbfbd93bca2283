"""Templates as a data folder has them, with what people have made of them."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING

import click

from logllm.errors import ConfigError, SourceError, StateError

if TYPE_CHECKING:
    from collections.abc import Callable

    from logllm.templates.edits import TemplateEdits
    from logllm.templates.miner import Miner
    from logllm.templates.template import Template

__all__ = ["change", "found", "learned", "show_all", "show_one"]

_MOST_NAMED = 5


def learned(data_dir: str) -> Miner:
    """The templates that were saved there last, edited as the folder says. Raises LogllmError."""
    from logllm.service.edits import EditsFile

    miner = _saved(data_dir)
    miner.edit(EditsFile(Path(data_dir)).read())
    return miner


def _saved(data_dir: str) -> Miner:
    from logllm.checkpoint import decode
    from logllm.templates.miner import Miner

    path = Path(data_dir) / "state.msgpack"
    try:
        # Not `load`: a file that cannot be used is put aside by whoever writes it, not by who looks.
        return Miner.restore(decode(path.read_bytes())["miner"])
    except FileNotFoundError:
        raise SourceError(
            f"{path}: nothing was learned here yet; tail and serve with --data-dir save every five minutes"
        ) from None
    except OSError as error:
        raise SourceError(f"{path}: cannot read: {error.strerror or error}") from error
    except (StateError, LookupError) as error:
        raise StateError(f"{path}: {error}") from error


def change(data_dir: str, edit: Callable[[Miner], object]) -> Path:
    """Make an edit and write it down; returns the file. Raises ConfigError, StateError: nothing has changed."""
    from logllm.service.edits import EditsFile

    miner, file = _saved(data_dir), EditsFile(Path(data_dir))

    def edited(edits: TemplateEdits) -> TemplateEdits:
        miner.edit(edits)
        edit(miner)
        return miner.edits

    file.change(edited)
    return file.path


def found(miner: Miner, beginning: str) -> Template:
    """The template whose id, or that of one that became part of it, begins so. Raises ConfigError."""
    index = miner.resolve(beginning)
    fitting = [
        template
        for template in (miner.templates() if index is None else (miner.template(index),))
        if index is not None or any(each.startswith(beginning) for each in (template.id, *template.aliases))
    ]
    if len(fitting) != 1 or not beginning:
        several = ", ".join(template.id for template in fitting[:_MOST_NAMED])
        more = ", ..." if len(fitting) > _MOST_NAMED else ""
        raise ConfigError(
            f"template {beginning!r}: {f'{len(fitting)} begin so ({several}{more})' if several else 'not known'}, "
            "expected an id of `logllm templates list`"
        )
    return fitting[0]


def show_all(miner: Miner, limit: int, *, as_json: bool) -> None:
    """A line a template, most frequent first."""
    import msgspec
    from rich.text import Text

    from logllm.cli.render import console_for, print_row
    from logllm.cli.render_text import neutral

    ranked = sorted(miner.templates(), key=lambda template: (-template.count, template.id))
    if as_json:
        for template in ranked:
            click.echo(msgspec.json.encode(template))
        return
    console = console_for(sys.stdout)
    for template in ranked[:limit]:
        mark = "pinned " if template.pinned else ""
        head = Text(f"{template.count:>12,}  {template.id}  v{template.version:<3} {mark}")
        print_row(console, head, Text(neutral(template.shown, 2_000)))
    if len(ranked) > limit:
        click.echo(f"and {len(ranked) - limit:,} more (-n, or --json for all)")


def show_one(miner: Miner, beginning: str) -> None:
    """All that is known of one template."""
    from logllm.cli.render_text import neutral

    template = found(miner, beginning)
    rows = {
        "id": template.id,
        "name": template.name,
        "text": template.text,
        "untyped": template.untyped,
        "records": f"{template.count:,}",
        "version": f"{template.version}" + (", pinned" if template.pinned else ""),
        "was also": ", ".join(template.aliases[:50]),
    }
    for title, value in rows.items():
        if value:
            click.echo(f"{title:9} {neutral(value, 4_000)}")
