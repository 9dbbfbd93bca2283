"""What the service is made of on this machine: model, runbooks, plugins, what it learned, the system's limits."""

from __future__ import annotations

import importlib.util
import resource
import sqlite3
import stat
import time
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import quote, urlsplit

from logllm import checkpoint
from logllm.doctor.finding import Finding, fail, ok, skipped, warn
from logllm.errors import ConfigError, ModelError, PluginError, StateError
from logllm.explain.config import ExplainConfig
from logllm.explain.model.models import LocalModel, ModelStore
from logllm.explain.runbooks.search import Catalogue
from logllm.filtering import Filtering

if TYPE_CHECKING:
    from logllm.config import Config
    from logllm.egress import EgressConfig

__all__ = ["examine_clock", "examine_limits", "examine_model", "examine_plugins", "examine_state"]

_WITHOUT = "incidents come with facts and runbooks only, without an explanation"
# Beside the connections, as the service reckons: databases, files, plugins, HTTP, the model.
_FILES_BESIDE = 300
# Before this version was written, so no time that a clock can show.
_EARLIEST_S = 1_764_000_000.0


def examine_model(config: ExplainConfig, egress: EgressConfig, *, offline: bool) -> Iterator[Finding]:
    """The model and the runbooks of `[explain]`."""
    if not config.enabled or not config.model:
        yield ok("model", f"none is asked for: {_WITHOUT}")
    else:
        yield _model(config, egress, offline=offline)
    try:
        with Catalogue.load(config.runbooks) as runbooks:
            yield ok("runbooks", f"{len(runbooks)} can be read")
    except ConfigError as error:
        yield fail("runbooks", str(error), "correct it, or take it out of explain.runbooks")


def _model(config: ExplainConfig, egress: EgressConfig, *, offline: bool) -> Finding:
    about = f"model {config.model}"
    try:
        found = ModelStore().resolve(config.model, egress=egress)
    except ModelError as error:
        told = str(error).removeprefix(f"{config.model}: ").partition("; get it with")[0]
        # The one that is asked for by default may be missing; one that was named may not.
        if config.model == ExplainConfig().model:
            return warn(about, f"{told}: {_WITHOUT}", "logllm model pull")
        return fail(about, told, "pull it, or name one of `logllm model list`, a .gguf file or a URL")
    if isinstance(found, LocalModel):
        if importlib.util.find_spec("llama_cpp") is None:
            return warn(about, f"llama-cpp-python is not installed: {_WITHOUT}", "pip install 'logllm[llm]'")
        return ok(about, f"{found.path}, {found.path.stat().st_size / 1e6:.0f} MB")
    if offline:
        return skipped(about, "not asked: --offline")
    from logllm.doctor.addresses import reaches

    parts = urlsplit(found.url)
    host = f"[{parts.hostname}]" if ":" in (parts.hostname or "") else parts.hostname
    answer = reaches(about, f"{host}:{parts.port or (443 if parts.scheme == 'https' else 80)}")
    if answer.level == "ok":
        return answer
    return warn(about, f"{answer.found}: {_WITHOUT} until it is back", "start the server that is named")


def examine_plugins(config: Config) -> Iterator[Finding]:
    """Whether each loads, with its configuration and its grants. Takes seconds for a large one never compiled."""
    for number, plugin in enumerate(config.plugins):
        about = f"plugin {plugin.name or plugin.path} (plugins[{number}])"
        try:
            filtering = Filtering([plugin])
        except PluginError as error:
            yield fail(about, str(error), "see `logllm plugin inspect`, or correct its configuration")
            continue
        status = filtering.status()
        filtering.close()
        yield ok(about, f"loads, {status[0].abi} ABI" if status else "loads")


def examine_limits(config: Config) -> Finding:
    """Open files against connections. The service raises its own limit, as far as it may."""
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    needed = config.forward.max_connections + _FILES_BESIDE
    if most == resource.RLIM_INFINITY:
        return ok("open files", "without limit")
    told = f"up to {most:,}, {needed:,} needed at forward.max_connections = {config.forward.max_connections:,}"
    if most >= needed:
        return ok("open files", told)
    return warn("open files", told, f"set LimitNOFILE={needed} in the unit, or lower forward.max_connections")


def examine_clock(now_s: float | None = None) -> Finding:
    """Whether the clock can be right."""
    now_s = time.time() if now_s is None else now_s
    told = time.strftime("%Y-%m-%d %H:%M:%S UTC", time.gmtime(now_s))
    if now_s < _EARLIEST_S:
        return fail(
            "clock", f"{told}: that is in the past", "set the clock: records are judged by their time against it"
        )
    return ok("clock", told)


def examine_state(data_dir: Path) -> Iterator[Finding]:
    """What was learned and kept, read and left as it is."""
    if data_dir.is_dir() and stat.S_IMODE(data_dir.stat().st_mode) & 0o077:
        told = f"mode {stat.S_IMODE(data_dir.stat().st_mode):04o}: others can read what was learned from the logs"
        yield warn(f"data_dir {data_dir}", told, f"chmod 700 {data_dir}")
    yield _snapshot(data_dir / "state.msgpack")
    for name in ("logllm.db", "explanations.db"):
        yield _database(data_dir / name)


def _snapshot(path: Path) -> Finding:
    from logllm.config import Config
    from logllm.pipeline import Pipeline

    about = f"state {path}"
    advice = "the service will put it aside and learn anew; restore a copy, or run the version that wrote it"
    try:
        body = path.read_bytes()
        Pipeline(Config()).restore(checkpoint.decode(body))
        age_s = time.time() - path.stat().st_mtime
    except FileNotFoundError:
        return ok(about, "none yet: everything is learned anew")
    except OSError as error:
        return fail(about, f"cannot be read: {error.strerror or error}", "give this user the file")
    except StateError as error:
        return warn(about, str(error), advice)
    if age_s < -60:
        return warn(about, f"written {-age_s / 3600:.1f} h in the future", "look at this machine's clock")
    return ok(about, f"can be read, {len(body) / 1e6:.1f} MB, written {age_s / 3600:.1f} h ago")


def _database(path: Path) -> Finding:
    about = f"database {path}"
    advice = "move it away; the service makes a new one, and what was in it is gone"
    if not path.exists():
        return ok(about, "none yet")
    # Without a -wal nobody has it open, and `immutable` keeps SQLite from making files beside it.
    open_now = path.with_name(path.name + "-wal").exists()
    address = f"file:{quote(str(path.absolute()))}?mode=ro{'' if open_now else '&immutable=1'}"
    try:
        db = sqlite3.connect(address, uri=True, timeout=5.0)
        try:
            told = [str(row[0]) for row in db.execute("PRAGMA quick_check(5)")]
        finally:
            db.close()
    except sqlite3.Error as error:
        return fail(about, f"cannot be read: {error}", advice)
    if told != ["ok"]:
        return fail(about, " ".join(" ".join(told).split())[:300], advice)
    return ok(about, f"sound, {path.stat().st_size / 1e6:.1f} MB")
