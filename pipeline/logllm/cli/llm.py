"""`logllm llm`: the language model as a service of its own."""

from __future__ import annotations

import asyncio
import contextlib
import os
import secrets
import signal
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

if TYPE_CHECKING:
    from collections.abc import Sequence

    from logllm.config import Config
    from logllm.explain.model.config import LlmConfig
    from logllm.explain.model.models import LocalModel, RemoteModel

__all__ = ["llm"]

_KEY_VARIABLE = "LOGLLM_API_KEY"
_LEAST_KEY_CHARS = 16
_STATUS_S = 10.0


@click.group()
def llm() -> None:
    """The language model as a service of its own, with OpenAI's API."""


@llm.command()
@click.option("-c", "--config", "config_path", type=click.Path(), help="A TOML file; options here win over it.")
@click.option("--model", help="A name from `logllm model list`, a .gguf file, or an OpenAI-compatible server's URL.")
@click.option("--listen", help="host:port.  [default: 127.0.0.1:8080]")
@click.option("--key-file", type=click.Path(), help="Keys, one a line; clients show one of them.")
@click.option("--no-key", is_flag=True, help="Whoever reaches it may ask; on this machine only.")
@click.option("--workers", type=click.IntRange(1, 64), help="Processes of the model at most.  [default: 1]")
@click.option("--idle", "idle_s", type=click.FloatRange(min=0.0), help="Seconds after which an idle one ends.")
@click.option("--data-dir", type=click.Path(), help="Where the list of what left for a URL is kept.")
def serve(
    config_path: str | None,
    model: str | None,
    listen: str | None,
    key_file: str | None,
    no_key: bool,
    workers: int | None,
    idle_s: float | None,
    data_dir: str | None,
) -> None:
    """Serve a model to any OpenAI client: chats, completions, JSON by schema, streams.

    The model starts with the first request and ends when idle. Without a key file or LOGLLM_API_KEY a key is made up
    and shown, for this run.

    \b
    logllm llm serve
    logllm llm serve --model ./my.gguf --workers 2
    logllm llm serve --model http://127.0.0.1:11434/v1#qwen3:4b    pass on to Ollama
    """
    from msgspec.structs import replace

    from logllm.config import Config
    from logllm.errors import ConfigError
    from logllm.explain.model.models import ModelStore

    config = Config.load(config_path) if config_path else Config()
    given: dict[str, Any] = {"model": model, "listen": listen, "workers": workers, "idle_s": idle_s}
    settings = replace(config.llm, **{name: value for name, value in given.items() if value is not None})
    if no_key and key_file:
        raise ConfigError("--no-key and --key-file: give one of them")
    found = ModelStore().resolve(settings.model or config.explain.model, egress=config.egress)
    beside = Path(config_path).parent if config_path else Path()
    path = Path(key_file) if key_file else beside / settings.key_file if settings.key_file else None
    keys, made_up = ([], False) if no_key else _keys(path, found)
    config = replace(config, data_dir=data_dir or config.data_dir)
    # A TaskGroup of uvicorn's or ours never lets a KeyboardInterrupt through: signals are taken in the loop.
    asyncio.run(_serve(found, settings, keys, config, made_up=made_up))


@llm.command()
@click.option("--url", default="http://127.0.0.1:8080", show_default=True, help="Of a running service.")
@click.option("--key-file", type=click.Path(), help="Its keys; else LOGLLM_API_KEY.")
@click.option("--json", "as_json", is_flag=True, help="What it says, as it says it.")
def status(url: str, key_file: str | None, as_json: bool) -> None:
    """What a running service does: workers, memory, requests."""
    import httpx
    import msgspec

    from logllm.errors import SourceError

    key = _read_keys(Path(key_file))[0] if key_file else os.environ.get(_KEY_VARIABLE, "")
    headers = {"Authorization": f"Bearer {key}"} if key else {}
    try:
        answer = httpx.get(
            f"{url.rstrip('/').removesuffix('/v1')}/health", headers=headers, timeout=_STATUS_S, trust_env=False
        )
        answer.raise_for_status()
        found = msgspec.json.decode(answer.content, type=dict[str, Any])
    except (httpx.HTTPError, httpx.InvalidURL, msgspec.MsgspecError) as error:
        raise SourceError(f"{url}: no such service ({error})") from None
    if as_json:
        click.echo(msgspec.json.encode(found).decode())
        return
    for line in _told(found):
        click.echo(line)


def _told(found: dict[str, Any]) -> list[str]:
    if "model" not in found:
        return [f"{found.get('status')}; for more give its key (--key-file or {_KEY_VARIABLE})"]
    lines = [f"{found['model']}: {found['under_way']} under way"]
    if "workers" in found:
        lines[0] += f", {found['waiting']} waiting, {found['served']} served"
        lines += [
            f"  worker {worker['pid']}: {worker['state']}, {(worker['memory_bytes'] or 0) / 1e6:.0f} MB, "
            f"{worker['requests']} requests"
            for worker in found["workers"]
        ] or ["  no worker: it starts with the next request"]
        cold = found["last_cold_start_s"]
        lines.append(
            f"  started {found['starts']} times{f', the last time in {cold:.2f} s' if cold is not None else ''}; "
            f"ended idle {found['idle_ends']}, crashed {found['crashes']}"
        )
    return lines


async def _serve(
    model: LocalModel | RemoteModel, settings: LlmConfig, keys: Sequence[str], config: Config, *, made_up: bool
) -> None:
    from logllm.audit.ledger import Ledger
    from logllm.explain.model.models import RemoteModel
    from logllm.web.llm.serve import LlmServer

    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, stop.set)
    with contextlib.ExitStack() as stack:
        sent = None
        upstream_key = ""
        if isinstance(model, RemoteModel):
            upstream_key = os.environ.get(_KEY_VARIABLE, "")
            ledger = Ledger.of(config.egress, Path(config.data_dir) if config.data_dir else None)
            if ledger is not None:
                stack.callback(ledger.close)
                sent = ledger("model", model.name, [upstream_key])
        server = LlmServer(model, settings, keys, upstream_key=upstream_key, sent=sent)
        async with server:
            for line in _banner(server.url, model.name, keys[0] if made_up else None, needs_key=bool(keys)):
                click.echo(line)
            await stop.wait()


def _banner(url: str, name: str, key: str | None, *, needs_key: bool) -> list[str]:
    lines = [f"{name} at {url}"]
    if key is not None:
        lines.append(f"key, for this run: {key}")
    shown = key or "$LOGLLM_API_KEY"
    header = f' -H "Authorization: Bearer {shown}"' if needs_key else ""
    lines += [
        "",
        f"curl {url}/chat/completions{header} -H 'Content-Type: application/json' \\",
        """  -d '{"messages": [{"role": "user", "content": "What does ENOSPC mean?"}]}'""",
        "",
        f'client = openai.OpenAI(base_url="{url}", api_key="{shown if needs_key else "none"}")',
        f'client.chat.completions.create(model="{name}", messages=[{{"role": "user", "content": "Hello"}}])',
        "",
    ]
    return lines


def _keys(path: Path | None, model: LocalModel | RemoteModel) -> tuple[list[str], bool]:
    """The keys that clients may show, and whether one was made up. Raises ConfigError."""
    from logllm.explain.model.models import LocalModel

    if path is not None:
        return _read_keys(path), False
    # Before a model behind a URL that variable holds the key of that one, which is nobody else's business.
    given = os.environ.get(_KEY_VARIABLE, "") if isinstance(model, LocalModel) else ""
    return ([given], False) if given else ([f"sk-{secrets.token_urlsafe(32)}"], True)


def _read_keys(path: Path) -> list[str]:
    from logllm.errors import ConfigError

    try:
        lines = [line.strip() for line in path.read_text(encoding="utf-8").splitlines()]
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"{path}: cannot read keys: {getattr(error, 'strerror', None) or error}") from None
    keys = [line for line in lines if line and not line.startswith("#")]
    if not keys or any(len(key) < _LEAST_KEY_CHARS or not key.isascii() or " " in key for key in keys):
        raise ConfigError(f"{path}: expected a key of at least {_LEAST_KEY_CHARS} characters on each line, no spaces")
    return keys
