"""`logllm`: the command line. Each command's own file; nothing heavy is imported until a command runs."""

from __future__ import annotations

import sys
from typing import Any

import click

from logllm import __version__
from logllm.cli.actions import actions
from logllm.cli.alerts import alerts
from logllm.cli.doctor import doctor
from logllm.cli.evaluate import evaluate
from logllm.cli.guarantees import guarantees
from logllm.cli.incidents import incidents
from logllm.cli.model import model
from logllm.cli.plugin import plugin, plugins
from logllm.cli.replay import replay
from logllm.cli.routes import routes
from logllm.cli.serve import serve
from logllm.cli.silence import silence
from logllm.cli.stats import stats
from logllm.cli.tail import tail
from logllm.cli.templates import templates

__all__ = ["main"]


class _Program(click.Group):
    """Turns every error we raise on purpose into one line and its exit code."""

    def invoke(self, ctx: click.Context) -> Any:
        from logllm.errors import LogllmError

        try:
            return super().invoke(ctx)
        except LogllmError as error:
            click.echo(f"logllm: {error}", err=True)
            ctx.exit(error.exit_code)
        except BrokenPipeError:
            # The reader of our output has gone, as `head` does.
            sys.stderr.close()
            ctx.exit(0)


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


main.add_command(tail)
main.add_command(serve)
main.add_command(incidents)
main.add_command(replay)
main.add_command(stats)
main.add_command(templates)
main.add_command(evaluate)
main.add_command(alerts)
main.add_command(routes)
main.add_command(silence)
main.add_command(actions)
main.add_command(doctor)
main.add_command(guarantees)
main.add_command(model)
main.add_command(plugin)
main.add_command(plugins)
