"""`logllm`: the command line. Each command's own file; nothing heavy is imported until a command runs."""

from __future__ import annotations

import errno
import os
import sys
from typing import Any, ClassVar

import click

from logllm import __version__
from logllm.cli.lazy import At, LazyGroup

__all__ = ["main"]


_COMMANDS = {
    "actions": At("actions", "actions", "Actions of runbooks: approve them, see what was done."),
    "alerts": At("alerts", "alerts", "Messages about incidents: sent, waiting, given up."),
    "chat": At("chat", "chat", "Ask about incidents, in the terminal or in the browser."),
    "audit": At("audit", "audit", "What left this process, and a trial with planted secrets."),
    "doctor": At("doctor", "doctor", "See what would lose records or alerts."),
    "eval": At("evaluate", "evaluate", "How well it would have done on labelled data of yours."),
    "guarantees": At("guarantees", "guarantees", "What logllm promises, and whether it keeps it here."),
    "incidents": At("incidents", "incidents", "Incidents that were kept, and what people say of them."),
    "llm": At("llm", "llm", "The language model as a service, with OpenAI's API."),
    "model": At("model", "model", "Language models that run on this machine."),
    "plugin": At("plugin", "plugin", "Make, try, test and hand on filters in WebAssembly."),
    "plugins": At("plugin", "plugins", "List plugins, and how those that run fare."),
    "replay": At("replay", "replay", "What would be told of a file, and what would go on."),
    "routes": At("routes", "routes", "Who is told of which incident."),
    "serve": At("serve", "serve", "Take records over Fluent Bit's forward protocol."),
    "silence": At("silence", "silence", "Times in which incidents are not told."),
    "stats": At("stats", "stats", "What came, what went on and what that saves."),
    "tail": At("tail", "tail", "Read files, report what stands out, then follow them."),
    "templates": At("templates", "templates", "What a log consists of: list, rename, merge, pin."),
}


_LONGEST_ERROR = 20_000
_FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EIO)


class _Program(LazyGroup):
    """Turns every error we raise on purpose into one line and its exit code."""

    at: ClassVar = _COMMANDS

    def invoke(self, ctx: click.Context) -> Any:
        from logllm.cli.render_text import neutral
        from logllm.errors import LogllmError

        try:
            return super().invoke(ctx)
        except LogllmError as error:
            # What a file or a peer has in it may be part of it, in any length.
            click.echo("\n".join(map(neutral, f"logllm: {error}"[:_LONGEST_ERROR].splitlines())), err=True)
            ctx.exit(error.exit_code)
        except BrokenPipeError:
            # The reader of our output has gone, as `head` does.
            sys.stderr.close()
            ctx.exit(0)
        except OSError as error:
            if error.errno not in _FULL:
                raise
            click.echo(f"logllm: cannot write: {error.strerror}", err=True)
            # Python would try to write what is left of it once more, and complain.
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
            ctx.exit(1)


@click.group(
    cls=_Program,
    context_settings={"help_option_names": ["-h", "--help"], "auto_envvar_prefix": "LOGLLM", "max_content_width": 100},
)
@click.version_option(__version__, prog_name="logllm")
def main() -> None:
    """Learn what is normal in logs, tell what is odd, why, and what to do. Nothing leaves this machine but what you
    send on.

    \b
    logllm tail app.log            read a log, report what stands out, then follow it
    kubectl logs -f pod | logllm tail -
    logllm serve                   take records from Fluent Bit's forward output
    logllm replay --proof app.log  what would be sent on, and that nothing an incident cites is missing
    """
