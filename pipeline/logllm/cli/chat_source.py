"""What `logllm chat` talks about: a data folder as it is, or one made of a log file for as long as the chat lasts."""

from __future__ import annotations

import contextlib
import sys
import threading
from pathlib import Path
from typing import TYPE_CHECKING

from msgspec.structs import replace

from logllm import checkpoint
from logllm.errors import SourceError, StateError
from logllm.explain.chat.chat import Chat
from logllm.explain.history import History
from logllm.explain.redact.redactor import Redactor
from logllm.explain.runbooks.search import Catalogue
from logllm.incidents.store import IncidentStore, incidents_in

if TYPE_CHECKING:
    from collections.abc import Iterator

    from logllm.config import Config
    from logllm.events import Explanation, IncidentEvent, Summary
    from logllm.explain.chat.model import ChatModel

__all__ = ["open_chat", "read_log"]


class _Quiet:
    """An outlet that keeps the summary alone: the incidents are in the store."""

    def __init__(self) -> None:
        self.learning: str | None = None

    def incident(self, event: IncidentEvent) -> None:
        """Nothing."""

    def explanation(self, explanation: Explanation, incident: IncidentEvent) -> None:
        """Nothing."""

    def status(self, lines: int, lines_per_s: float, templates: int, learning: str | None, incidents: int) -> None:
        """Nothing."""

    def notice(self, text: str) -> None:
        """To standard error."""
        sys.stderr.write(f"logllm: {text}\n")

    def summary(self, summary: Summary) -> None:
        """Kept: what is still being learned."""
        self.learning = summary.learning


def read_log(logs: tuple[str, ...], folder: Path, config: Config) -> str | None:
    """Find the incidents of these files and keep them in `folder`; returns what is still being learned, if anything.

    Raises:
        SourceError: None of them could be read.
    """
    from logllm.service.tail import TailOptions, tail

    outlet = _Quiet()
    alone = replace(config, data_dir=str(folder), explain=replace(config.explain, model=""))
    summary, failed = tail(TailOptions(logs, once=True), alone, outlet, threading.Event())
    if failed and not summary.records:
        raise SourceError(f"{', '.join(logs)}: nothing could be read")
    return outlet.learning


@contextlib.contextmanager
def open_chat(folder: Path, config: Config, model: ChatModel | None) -> Iterator[tuple[Chat, Redactor]]:
    """The chat over a data folder, which may be in use by `serve`: nothing is written to it. Closes the model.

    The redactor knows the pseudonyms up to when the folder's state was saved; what it meets for the first time gets
    one that is never put back, so that it cannot be taken for another.

    Raises:
        SourceError: No incidents were kept there.
        StateError: They cannot be read.
    """
    path = incidents_in(folder)
    store = IncidentStore(path)
    try:
        redactor = _redactor(folder / "state.msgpack")
        with Catalogue.load(config.explain.runbooks) as catalogue, contextlib.closing(History(store)) as history:
            yield (
                Chat(
                    lambda limit: list(store.latest(limit)),
                    store.get,
                    catalogue,
                    redactor.mask,
                    model=model,
                    past=history.search,
                ),
                redactor,
            )
    finally:
        if model is not None:
            model.close()
        store.close()


def _redactor(path: Path) -> Redactor:
    try:
        state = checkpoint.decode(path.read_bytes())
        return Redactor.from_state(state["redactor"], max_values=0)
    except (OSError, StateError, KeyError, TypeError):
        # It is being written, or of another version: names stay masked, which is all that is lost.
        return Redactor(max_values=0)
