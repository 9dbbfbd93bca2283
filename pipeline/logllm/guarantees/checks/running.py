"""What changes while it runs: its configuration."""

from __future__ import annotations

import signal
from typing import TYPE_CHECKING

from logllm.guarantees.checks.delivery import same_records
from logllm.guarantees.verdict import Broken
from logllm.guarantees.wait import until
from logllm.guarantees.wire import numbered, stored

if TYPE_CHECKING:
    from logllm.guarantees.child import Child
    from logllm.guarantees.place import Place

__all__ = ["reload"]

_RELOADS = "logllm_config_reloads_total"


def reload(place: Place) -> str:
    """Reload bad configurations and a good one under a connection that goes on sending."""
    first, second, config = place.folder / "first.ndjson", place.folder / "second.ndjson", place.folder / "logllm.toml"
    good = f'[[sinks]]\ntype = "file"\npath = "{first}"\n'
    bad = (
        "this is no TOML",
        good + "[forward]\nno_such_key = 1\n",
        good + f'[[sinks]]\ntype = "file"\npath = "{second}"\n[[plugins]]\npath = "{place.folder}/no-such.wasm"\n',
    )
    config.write_text(good, encoding="utf-8")
    child = place.serve("-c", str(config), "--data-dir", str(place.folder / "data"))
    sender = place.connect(child)
    sender.deliver(numbered([99], "before"), ["before"])

    for number, text in enumerate(bad):
        config.write_text(text, encoding="utf-8")
        sender.send(numbered([number], f"chunk-{number}"))
        _reload(child, "refused", number + 1, place.patience_s)
    sender.send(numbered([len(bad)], "after the bad ones"))
    sender.acks(len(bad) + 1)
    if second.exists():
        raise Broken("a configuration that was refused has opened a sink")
    config.write_text(good + f'[[sinks]]\ntype = "file"\npath = "{second}"\n', encoding="utf-8")
    # Some of these chunks meet the old configuration and some the new one.
    sender.send(b"".join(numbered([number], f"chunk-{number}") for number in range(100, 150)))
    _reload(child, "done", 1, place.patience_s)
    sender.send(numbered([200], "after the good one"))
    sender.acks(51)
    child.end()

    same_records(first, [*range(len(bad) + 1), *range(99, 150), 200])
    from_then_on = set(_stored_once(place, "second.ndjson"))
    if 200 not in from_then_on:
        raise Broken("a sink that a reload has added did not get what came afterwards")
    return f"{len(bad)} bad configurations refused, a good one taken, one connection all the while, no record lost"


def _stored_once(place: Place, name: str) -> list[int]:
    found = stored(place.folder / name)
    if len(found) != len(set(found)):
        raise Broken("a record is twice in a sink that a reload has added")
    return found


def _reload(child: Child, outcome: str, times: int, patience_s: float) -> None:
    child.kill(signal.SIGHUP)
    if not until(lambda: child.metric(_RELOADS, f'"{outcome}"') >= times, patience_s):
        raise Broken(f"a reload was not {outcome} within {patience_s:g} s")
