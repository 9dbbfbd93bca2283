"""`logllm chat`: ask about incidents, in the terminal or on a page in the browser."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from logllm.config import Config
    from logllm.egress import Recorder
    from logllm.explain.chat.chat import Chat
    from logllm.explain.chat.model import ChatModel

__all__ = ["chat"]


@click.command()
@click.argument("incident", default="")
@click.option("--data-dir", type=click.Path(), help="As given to tail or serve, which may be running.")
@click.option("--log", "logs", multiple=True, type=click.Path(), help="Read this file first, find its incidents.")
@click.option("--web", is_flag=True, help="Serve a page on this machine and open the browser.")
@click.option("--no-open", is_flag=True, help="With --web: print the address, open nothing.")
@click.option(
    "--port", default=0, type=click.IntRange(0, 65535), help="With --web: the page's port.  [default: a free one]"
)
@click.option("--reveal", is_flag=True, help="Show addresses and user names on the page and on a pipe; secrets never.")
@click.option("-c", "--config", "config_path", type=click.Path(), help="A TOML file; options here win over it.")
@click.option("--no-llm", is_flag=True, help="Evidence and runbooks only; start no language model.")
@click.option(
    "--model", help="A name from `logllm model list`, a .gguf file, or the URL of an OpenAI-compatible server."
)
@click.option("--runbooks", multiple=True, type=click.Path(), help="A folder with runbooks of your own; repeatable.")
def chat(
    incident: str,
    data_dir: str | None,
    logs: tuple[str, ...],
    web: bool,
    no_open: bool,
    port: int,
    reveal: bool,
    config_path: str | None,
    no_llm: bool,
    model: str | None,
    runbooks: tuple[str, ...],
) -> None:
    """Ask about an INCIDENT: what happened, why, since when, what to do. The beginning of its id is enough.

    \b
    logllm chat --log app.log                  read a log, find its incidents, ask about them
    logllm chat --data-dir DIR --web           the same as a page in the browser
    echo "why?" | logllm chat --data-dir DIR inc-8f3a

    Answers are put together from the evidence and cite it; the model adds what stands the checks. Ctrl-C ends an
    answer, Ctrl-D the chat.
    """
    import sys
    import tempfile
    from pathlib import Path

    from logllm.cli.chat_source import read_log
    from logllm.cli.options import configured
    from logllm.cli.render_text import neutral
    from logllm.errors import ConfigError

    config = configured(config_path, data_dir, None, no_llm, model, runbooks, ())
    if config.data_dir is None and not logs:
        raise ConfigError("chat: name a folder with --data-dir, or a file with --log")
    if not web and (no_open or port):
        raise ConfigError("--no-open and --port are of the page: give --web too")
    with tempfile.TemporaryDirectory(prefix="logllm-chat-") as made:
        folder = Path(config.data_dir or made)
        if logs and sys.stderr.isatty():
            click.echo(f"logllm: reading {', '.join(map(neutral, logs))}", err=True)
        learning = read_log(logs, folder, config) if logs else None
        _talk(folder, config, incident, learning, web=(port, not no_open) if web else None, reveal=reveal)


def _talk(
    folder: Path, config: Config, incident: str, learning: str | None, *, web: tuple[int, bool] | None, reveal: bool
) -> None:
    import contextlib
    import sys
    from pathlib import Path

    from logllm.audit.ledger import Ledger
    from logllm.cli.chat_source import open_chat
    from logllm.incidents.store import incidents_in

    incidents_in(folder)
    with contextlib.ExitStack() as stack:
        ledger = Ledger.of(config.egress, None if config.data_dir is None else Path(config.data_dir))
        if ledger is not None:
            stack.callback(ledger.close)
        model, missing = _model(config, ledger)
        talk, redactor = stack.enter_context(open_chat(folder, config, model))
        put_back: Callable[[str], str] = redactor.reveal if reveal else str
        named = _named(talk, incident)
        if web is not None:
            _page(talk, named, web, put_back, learning, missing)
            return
        from logllm.cli.chat_terminal import run_terminal

        if sys.stdin.isatty() and sys.stdout.isatty():
            put_back = redactor.reveal
        run_terminal(talk, named, put_back, [text for text in (missing, learning) if text])


def _model(config: Config, record: Recorder | None) -> tuple[ChatModel | None, str | None]:
    """The model, found but not started; else why there is none, where nobody asked for one by name."""
    from logllm.explain.chat.model import ChatModel

    explain = config.explain
    if not explain.model:
        return None, None
    model = ChatModel(explain.model, explain, egress=config.egress, record=record)
    missing = model.missing()
    return (None, f"{missing}; answers come from the evidence alone") if missing else (model, None)


def _named(talk: Chat, incident: str) -> str:
    """The whole id of the incident that was named; without a name the newest, where there is one only."""
    from logllm.errors import SourceError

    if not incident:
        kept = talk.latest(2)
        return kept[0][0].id if len(kept) == 1 else ""
    case = talk.case(incident)
    if case is None:
        raise SourceError(f"{incident}: no such incident, or more than one begins with it")
    return case.incident.id


def _page(
    talk: Chat,
    incident: str,
    web: tuple[int, bool],
    put_back: Callable[[str], str],
    learning: str | None,
    missing: str | None,
) -> None:
    import threading
    import webbrowser

    from logllm.web.chat.server import serve_page

    port, opens = web

    def told(address: str) -> None:
        click.echo(address)
        click.echo("The address holds a key: whoever has it can read the page. Ctrl-C ends it.", err=True)
        if missing:
            click.echo(f"logllm: {missing}", err=True)
        if opens:
            # A browser that runs in this very terminal returns only when it is left.
            threading.Thread(target=webbrowser.open, args=(address,), daemon=True).start()

    serve_page(talk, port=port, incident=incident, put_back=put_back, learning=learning, missing=missing, told=told)
