"""Where a check runs: a temporary folder, the children and connections it has opened, all gone afterwards."""

from __future__ import annotations

import contextlib
import subprocess
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from logllm.guarantees.child import PROGRAM, Child, environment
from logllm.guarantees.receiver import Answer, Receiver, taken
from logllm.guarantees.verdict import Broken, Unchecked
from logllm.guarantees.wire import Sender

if TYPE_CHECKING:
    from typing import Self

__all__ = ["Place"]

_COMMAND_S = 60.0


class Place:
    """Use it in `with`.

    Args:
        folder: Temporary folders are made in it; None: where the system has them. A promise about a disk is only as
            good as the disk that is looked at.
        cache: Compiled code is kept here from one place to the next; None: in the temporary folder.
        program: What is run in place of this very program.
        patience_s: How long something that should come is waited for.

    Attributes:
        folder: Its own, empty.
    """

    def __init__(
        self,
        folder: Path | None = None,
        *,
        cache: Path | None = None,
        program: Sequence[str] = PROGRAM,
        patience_s: float = 15.0,
    ) -> None:
        self.patience_s = patience_s
        self._program = program
        self._stack = contextlib.ExitStack()
        made = tempfile.TemporaryDirectory(prefix="logllm-guarantees-", dir=folder, ignore_cleanup_errors=True)
        self.folder = Path(self._stack.enter_context(made))
        if cache is None:
            cache = self.folder / ".cache"
        cache.mkdir(mode=0o700, exist_ok=True)
        self._env = environment(cache)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._stack.close()

    def serve(self, *arguments: str, model: str = "", listen: str = "127.0.0.1:0", again: bool = False) -> Child:
        """Start `logllm serve`, without a model unless one is named; see `Child`."""
        how = ("--model", model) if model else ("--no-llm",)
        child = Child(self._program, [*how, *arguments], self._env, listen=listen, again=again)
        self._stack.callback(child.close)
        return child

    def run(self, *arguments: str, env: Mapping[str, str] | None = None, stdout: int = subprocess.PIPE) -> bytes:
        """Run another command of the program to its end; its standard output, or what `stdout` is given of it.

        Raises:
            Unchecked: It fails.
            Broken: It does not end.
        """
        try:
            done = subprocess.run(  # noqa: S603 - the same program as ours
                [*self._program, *arguments],
                stdin=subprocess.DEVNULL,
                stdout=stdout,
                stderr=subprocess.PIPE,
                env={**self._env, **(env or {})},
                timeout=_COMMAND_S,
                check=False,
            )
        except subprocess.TimeoutExpired:
            raise Broken(f"logllm {arguments[0]} did not end within {_COMMAND_S:g} s") from None
        if done.returncode:
            told = done.stderr.decode("utf-8", "replace").strip().splitlines()
            raise Unchecked(f"logllm {arguments[0]} ended with {done.returncode}: {told[-1] if told else ''}")
        return bytes(done.stdout or b"")

    def receive(self, answer: Answer = taken) -> Receiver:
        """A receiver of messages, see `Receiver`."""
        receiver = Receiver(answer)
        self._stack.callback(receiver.close)
        return receiver

    def connect(self, child: Child, buffer_bytes: int = 0) -> Sender:
        """A connection to a child, see `Sender`."""
        sender = Sender(child.port, self.patience_s, buffer_bytes)
        self._stack.callback(sender.close)
        return sender
